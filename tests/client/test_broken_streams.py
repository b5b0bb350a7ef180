"""Events of a run over connections that break: none is left out or repeated, and a lasting failure is raised."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.client import Client, Refused, StreamedEvent, Unreachable
from gateway.client.transport import Outage
from tests.client.servers import Heard, Said, listening, problem

RUN = {"id": "a", "route": "/lungs", "state": "running", "sequence": 1}


def event(number: int, kind: str, **data: object) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


EVENTS = [event(number, "log", text=f"line {number}") for number in range(1, 7)] + [event(9, "state", state="finished")]


@contextmanager
def following(*answers: Said) -> Iterator[tuple[list[StreamedEvent], list[str]]]:
    """Follow a run whose streams are ``answers``; yields its events, and the ``Last-Event-ID`` of each request."""
    left, asked = list(answers), list[str]()

    def script(request: Heard) -> Said:
        if not request.path.endswith("/events"):
            return Said(json.dumps(RUN).encode(), "application/json")
        asked.append(request.headers["Last-Event-ID"])
        return left.pop(0)

    with listening(script) as url, Client(url) as client:
        yield list(client.run("a").events()), asked


def stream(*events: bytes, length: int | None = None) -> Said:
    return Said(b"retry: 1000\n\n" + b"".join(events), "text/event-stream", length=length)


def test_a_stream_that_breaks_continues_behind_the_last_whole_event() -> None:
    cut = stream(*EVENTS[:2], EVENTS[2][:-1], length=10_000)
    restart = problem(503, title="Stopping")
    with following(cut, restart, stream(*EVENTS[2:5]), stream(*EVENTS[5:])) as (events, asked):
        assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6, 9]
        assert asked == ["0", "2", "2", "5"]


def test_a_run_that_ended_meanwhile_has_no_more() -> None:
    with following(stream(*EVENTS[:2]), Said(b"", status=204)) as (events, asked):
        assert ([event.sequence for event in events], asked) == ([1, 2], ["0", "2"])


def test_a_refusal_is_raised() -> None:
    with pytest.raises(Refused) as refused, following(problem(410, type="urn:gateway:problem:run-gone")):
        pass
    assert refused.value.code == "run-gone"


def test_a_server_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(lambda request: Said(json.dumps(RUN).encode(), "application/json")) as url:
        client = Client(url)
        run = client.run("a")
    monkeypatch.setattr("gateway.client.transport.OUTAGE", 0.3)
    with client, pytest.raises(Unreachable):
        run.wait()


def test_a_closed_client_does_not_wait_for_a_server() -> None:
    client = Client("http://127.0.0.1:9")
    client.close()
    with pytest.raises(Exception, match="closed"):
        Outage(client._transport).pause()
