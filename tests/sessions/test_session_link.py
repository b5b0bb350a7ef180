"""The link between workers, both ends in this process."""

import contextlib
import threading
from collections.abc import Iterator

import pytest

from gateway.contract.requests import JSON
from gateway.errors import SessionGone, Unavailable
from gateway.executors.messages import connect, listen
from gateway.executors.transfer import read_words, write_words
from gateway.sessions.session_link import ALIVE, PREFIX, SessionLink
from tests.waiting import PATIENCE

ASKED: JSON = {"verb": "input", "caller": "ann", "id": "17", "words": {"points": 1}}


class Worker:
    """A worker that answers once it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.link = SessionLink(self.serve, 0.2)

    def serve(self, verb: str, caller: str, id: str, words: JSON) -> JSON:
        assert self.let.wait(PATIENCE)
        return {"verb": verb, "caller": caller, "id": id, "words": words}


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.let.set()
    made.link.close()


@pytest.fixture
def other() -> Iterator[SessionLink]:
    made = SessionLink(lambda *_: {}, PATIENCE)
    yield made
    made.close()


def test_a_worker_gives_signs_of_life_while_its_session_works(worker: Worker) -> None:
    channel = connect(PREFIX + worker.link.name, PATIENCE)
    channel.send({"type": "request"}, [write_words(ASKED)])
    for _ in range(3):
        assert channel.receive() == (ALIVE, [])
    worker.let.set()
    while (message := channel.receive()) == (ALIVE, []):
        pass
    channel.close()
    assert message is not None
    assert read_words(message[1][0]) == ASKED


def test_signs_of_life_are_no_replies(worker: Worker, other: SessionLink) -> None:
    threading.Timer(0.3, worker.let.set).start()
    assert other.forward(worker.link.name, **ASKED) == ASKED


def test_a_worker_without_a_sign_of_life_has_hung(worker: Worker) -> None:
    hung, address = listen()
    with hung, pytest.raises(Unavailable):
        worker.link.forward(address.removeprefix(PREFIX), **ASKED)


def test_a_worker_that_takes_no_connection_has_hung(worker: Worker) -> None:
    hung, address = listen()
    hung.listen(0)
    with hung, contextlib.closing(connect(address)), pytest.raises(Unavailable):
        worker.link.forward(address.removeprefix(PREFIX), **ASKED)


def test_a_worker_that_has_ended_has_no_sessions(worker: Worker, other: SessionLink) -> None:
    worker.let.set()
    worker.link.close()
    with pytest.raises(SessionGone):
        other.forward(worker.link.name, **ASKED)
