"""What becomes of a run by the error of its attempt."""

import pytest

from gateway.errors import (
    AnswerInvalid,
    BrokenJSON,
    Cancelled,
    DeadlineExceeded,
    ModelDied,
    StorageFull,
    StudyRefused,
    Unavailable,
)
from gateway.runs.consequences import Consequence, StopReason, consequence_of

CASES: list[tuple[Exception, bool, StopReason | None, Consequence]] = [
    (Unavailable(), True, None, Consequence.GIVE_BACK),
    (StorageFull(), True, None, Consequence.GIVE_BACK),
    (DeadlineExceeded(), True, None, Consequence.GIVE_BACK),
    (DeadlineExceeded(), False, None, Consequence.FAIL),
    (StorageFull(), False, None, Consequence.FAIL),
    (Unavailable(), False, None, Consequence.RETRY),
    (ModelDied(), False, None, Consequence.RETRY),
    (BrokenJSON(), True, None, Consequence.REFUSE),
    (StudyRefused(), False, None, Consequence.REFUSE),
    (AnswerInvalid("", ""), False, None, Consequence.FAIL),
    (ValueError(), False, None, Consequence.FAIL),
    (Cancelled(), False, None, Consequence.FAIL),
    (Cancelled(), False, StopReason.CANCELLED, Consequence.CANCEL),
    (Cancelled(), False, StopReason.DRAINING, Consequence.GIVE_BACK),
    (Cancelled(), False, StopReason.LOST, Consequence.LEAVE),
    (Cancelled(), False, StopReason.PARKED, Consequence.GIVE_BACK),
    (ValueError(), False, StopReason.LOST, Consequence.LEAVE),
    (StudyRefused(), False, StopReason.DRAINING, Consequence.REFUSE),
]


@pytest.mark.parametrize(("error", "queued", "stop", "expected"), CASES)
def test_an_error_has_its_consequence(
    error: Exception, queued: bool, stop: StopReason | None, expected: Consequence
) -> None:
    assert consequence_of(error, queued=queued, stop=stop) is expected
