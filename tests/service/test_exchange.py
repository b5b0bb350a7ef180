"""One inference below every door: no Flask application, no socket, no framing."""

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, BinaryIO

import pytest

from gateway.config import Settings
from gateway.contract.model import adapt
from gateway.contract.requests import JSON, Handler
from gateway.errors import BrokenJSON, ModelFailed, RequestError, Unavailable
from gateway.intake.receiving import Received, ReceiveOptions, receive_files
from gateway.observe.outcomes import Outcome
from gateway.protocol.serializer import InferenceSerializer
from gateway.service.exchange import Head
from gateway.service.service import Service
from tests.conftest import ROOT

TEXT = b'{"question": 1}'


def echo(json_input: JSON, instances: Sequence[BinaryIO], digest: str) -> tuple[JSON, Sequence[Any]]:
    return {"protocol_version": "1.0", "parts": [], "study_ml_json": {"bytes": len(instances[0].read())}}, []


class Place:
    """A service with one model, and all that its sinks were notified of."""

    def __init__(self, handler: Handler = echo, **settings: Any) -> None:
        self.service = Service(Settings(**settings), InferenceSerializer())
        self.model = adapt("/echo", handler)
        self.outcomes: list[Outcome] = []
        self.service.models["/echo"] = self.model
        self.service.sinks.append(self.outcomes.append)
        self.service.open("", None)

    def open(self, **head: Any) -> Any:
        return self.service.open_exchange(self.model, Head(door="folder", request_id="a" * 32, **head))


def files(*contents: bytes, json: bytes = TEXT) -> Callable[[ReceiveOptions], Received]:
    return partial(receive_files, json, [io.BytesIO(one) for one in contents])


def test_a_request_from_files_is_received_answered_and_accounted_for() -> None:
    place = Place()
    with place.open(caller="ward") as exchange:
        request = exchange.receive(files(b"12345"))
        result = exchange.infer(request)
        exchange.answer(result)
        digest = exchange.finish()
        assert place.outcomes == []
    exchange.close()
    (outcome,) = place.outcomes
    assert json.loads(result.json_bytes)["study_ml_json"] == {"bytes": 5}
    assert outcome.input_digest == hashlib.sha256(TEXT + b"12345").hexdigest()
    assert outcome.output_digest == digest == hashlib.sha256(result.json_bytes).hexdigest()
    assert (outcome.door, outcome.caller, outcome.route, outcome.status) == ("folder", "ward", "/echo", 200)
    assert (outcome.bytes_in, outcome.instances, outcome.reason) == (len(TEXT) + 5, 1, "")
    assert {"receive", "predict"} <= outcome.phases.keys()


@pytest.mark.parametrize(
    ("json", "handler", "code"),
    [
        (b"[]", echo, BrokenJSON.code),
        (TEXT, lambda *_: 1 / 0, ModelFailed.code),
        (TEXT, lambda *_: {}, "answer-invalid"),
    ],
)
def test_every_failure_releases_everything_and_the_outcome_has_its_reason(
    json: bytes, handler: Handler, code: str
) -> None:
    place = Place(handler)
    with pytest.raises(Exception), place.open() as exchange:  # noqa: B017
        exchange.infer(exchange.receive(files(b"1", json=json)))
    assert [one.reason for one in place.outcomes] == [code]
    assert (place.service.admission.requests, place.service.admission.bytes) == (0, 0)


def test_a_request_that_finds_no_place_has_an_outcome_too() -> None:
    place = Place()
    place.service.admission.max_requests = 1
    with place.open() as exchange:
        with pytest.raises(Unavailable):
            place.open()
        assert [one.status for one in place.outcomes] == [503]
    exchange.close()
    exchange.close()
    assert [one.status for one in place.outcomes] == [503, 200]
    assert place.service.admission.requests == 0


def test_a_timeout_that_cannot_be_read_is_refused_with_an_outcome() -> None:
    def unreadable() -> float:
        raise RequestError("no number")

    place = Place()
    with pytest.raises(RequestError):
        place.service.open_exchange(place.model, Head(door="folder", request_id="b" * 32), unreadable)
    assert [(one.status, one.door) for one in place.outcomes] == [(400, "folder")]


def test_a_caller_gets_the_requested_time_but_no_more_than_the_model_has() -> None:
    place = Place(request_timeout=30)
    for wanted, granted in ((None, 30), (5.0, 5), (60.0, 30)):
        head = Head(door="folder", request_id="c" * 32)
        with place.service.open_exchange(place.model, head, lambda wanted=wanted: wanted) as exchange:
            assert exchange.timeout == granted
        exchange.close()


def test_the_core_does_without_flask() -> None:
    probe = "import sys, gateway.service.service, gateway.intake.receiving\nprint('flask' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
