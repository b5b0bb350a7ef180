"""Answers that wait under a server other than the gateway's own: in the thread of their request, a few at once."""

import threading

from gateway.endpoints.waiting import IN_THREADS
from tests.apps.waiting import app, wakers
from tests.waiting import eventually


def test_a_stream_waits_in_its_thread_and_ends_with_its_feed() -> None:
    client = app.test_client()
    client.post("/lines/one", data=b"1\n2")
    pieces = client.get("/lines/one").iter_encoded()
    assert b"".join(next(pieces) for _ in range(2)) == b"begun\n1\n2\n"
    app.test_client().post("/lines/one", data=b"3\nend")
    assert b"".join(pieces) == b"3\nend\n"
    assert wakers["one"] == []


def test_a_deferred_answer_waits_in_its_thread_for_the_end_or_its_time() -> None:
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(app.test_client().get("/last/two").json["lines"]))
    thread.start()
    eventually(lambda: wakers["two"])
    app.test_client().post("/lines/two", data=b"1\nend")
    thread.join()
    assert answers == [2]
    assert app.test_client().get("/last/three?wait=0.01").json["lines"] == 0


def test_more_than_a_few_are_answered_at_once_and_come_again() -> None:
    waiting = [app.test_client().get("/lines/four").iter_encoded() for _ in range(IN_THREADS)]
    app.test_client().post("/lines/four", data=b"1")
    for pieces in waiting:
        assert b"".join(next(pieces) for _ in range(2)) == b"begun\n1\n"
    assert app.test_client().get("/lines/four").data == b"begun\n"
    for pieces in waiting:
        pieces.close()  # type: ignore[attr-defined]
    app.test_client().post("/lines/four", data=b"end")
    assert app.test_client().get("/lines/four").data == b"begun\n1\nend\n"
