"""Records of inferences and other events: the caller, the model and the data by digests, the time and the outcome."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gateway import __version__
from gateway.observe.audit.canonical import sha256
from gateway.observe.outcomes import Outcome

LONGEST_TEXT = 256
"""Characters of a name that are kept, so that a record stays below the 4 KiB that are written in one piece."""
REQUEST_DIGITS = 32
"""Hexadecimal digits of a request's digest: 128 bits, as many as an id of ours has."""


def record_of(outcome: Outcome, algorithm: str = "sha256") -> dict[str, Any]:
    """The members of a record, before it has its place in a chain. Times are whole microseconds.

    ``algorithm`` is that of the input's and the output's digest; all others are sha256.
    """
    return {
        **identity_of(outcome, algorithm),
        "bytes_in": outcome.bytes_in,
        "bytes_out": outcome.bytes_out,
        "cached": outcome.cached,
        "caller": outcome.caller[:LONGEST_TEXT],
        "door": outcome.door,
        "instances": outcome.instances,
        "phases_us": {name: microseconds(seconds) for name, seconds in outcome.phases.items()},
        "reason": outcome.reason,
        "seconds_us": microseconds(outcome.seconds),
        "status": outcome.status,
    }


def event_of(kind: str, caller: str, members: Mapping[str, str | int | bool], at: datetime) -> dict[str, Any]:
    """The members of a record that is of no inference: what happened, ``at`` which time, and by whom.

    ``kind`` tells it from an inference, which has none; ``members`` are counts and digests.
    """
    return {
        **members,
        "caller": caller[:LONGEST_TEXT],
        "gateway": __version__,
        "kind": kind,
        "time": timestamp(at),
        "v": 1,
    }


def identity_of(outcome: Outcome, algorithm: str) -> dict[str, Any]:
    """Return the members that a record and a receipt share: the input, the model and the answer."""
    return {
        "algorithm": algorithm,
        "deterministic": outcome.deterministic,
        "gateway": __version__,
        "input": outcome.input_digest,
        "model": {
            "digest": outcome.model_digest,
            "name": outcome.model_name[:LONGEST_TEXT],
            "version": outcome.model_version[:LONGEST_TEXT],
            "weights": outcome.weights_digest,
        },
        "output": outcome.output_digest,
        "parameters": outcome.parameters_digest,
        "request": request_digest(outcome.request_id),
        "route": outcome.route[:LONGEST_TEXT],
        "time": timestamp(outcome.received),
        "v": 1,
    }


def request_digest(request_id: str) -> str:
    """The beginning of the sha256 of a request's id. A caller may have chosen the id, and may have named a patient."""
    return sha256(request_id.encode("utf-8", "replace"))[:REQUEST_DIGITS]


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, always as long: texts sort as the moments do."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def microseconds(seconds: float) -> int:
    """Whole microseconds; a float is spelt in more than one way."""
    return round(seconds * 1e6)
