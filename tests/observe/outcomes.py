"""Outcomes made up for the tests."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gateway.observe.outcomes import Outcome

PLAIN = Outcome(
    request_id="5f2b",
    route="/lungs",
    status=200,
    received=datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC),
    seconds=1.5,
    phases={"receive": 0.25, "predict": 1.0, "send": 0.125},
    bytes_in=1024,
    bytes_out=2048,
    input_digest="a" * 64,
    output_digest="b" * 64,
    model_name="lungs",
    model_version="1.2.0",
    door="multipart",
)


def outcome(**changed: Any) -> Outcome:
    """One request to /lungs, except for ``changed`` members."""
    return replace(PLAIN, **changed)
