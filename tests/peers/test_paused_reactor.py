"""The reactor of pynetdicom, late where a busy machine makes it late, takes no response of a sender."""

import time
from collections.abc import Iterator

import pytest

from gateway.peers.paused_reactor import Checkpoint
from tests.dimse.serving import Serving, serving

VERIFICATION = "1.2.840.10008.1.1"
LATE = 0.05


class Late(Checkpoint):
    """Its reactor stands still after each wait."""

    def wait(self, timeout: float | None = None) -> bool:
        passed = super().wait(timeout)
        time.sleep(LATE)
        return passed


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("paused")) as running:
        yield running


def test_a_sender_gets_each_of_its_answers(served: Serving) -> None:
    association = served.associate(VERIFICATION)
    get_msg = association.dimse.get_msg

    def later(block: bool = False) -> object:
        time.sleep(2 * LATE if block else 0.0)  # the answer is there before its sender waits
        return get_msg(block)

    association.dimse.get_msg = later
    association._reactor_checkpoint = Late(association)
    assert [association.send_c_echo().Status for _ in range(3)] == [0, 0, 0]
    association.release()
    assert association.is_released
