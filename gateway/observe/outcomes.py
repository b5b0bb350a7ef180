"""The outcome of one request in numbers and digests, from which logs, metrics, traces and audit are made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

PHASES = ("receive", "hash", "decode", "queue", "predict", "encode", "send")
"""The phases of a request, in order. Each moment belongs to one phase."""

DOORS = ("multipart", "replay", "runs", "sessions", "backendai", "oip", "dapr", "monailabel", "nninteractive")
"""The protocols of requests."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A request that is over, answered or not. Holds no patient data.

    ``door`` names its protocol, one of ``DOORS``. Digests are hexadecimal, "" where the request did not get so far.
    ``reason`` is the ``code`` of its problem, "" for an answer. ``phases`` are seconds by the names of ``PHASES``;
    ``seconds`` is its whole time, from its head to the last byte sent.
    ``received`` has its time zone. ``weights_digest`` covers the model's weights only, "" without declared weights;
    ``model_digest`` its source, version, weights and config.
    """

    request_id: str
    route: str
    status: int
    received: datetime
    seconds: float
    reason: str = ""
    phases: Mapping[str, float] = field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0
    instances: int = 0
    batch_size: int = 1
    caller: str = ""
    input_digest: str = ""
    output_digest: str = ""
    parameters_digest: str = ""
    model_name: str = ""
    model_version: str = ""
    model_digest: str = ""
    weights_digest: str = ""
    deterministic: bool = False
    cached: bool = False
    traceparent: str = ""
    door: str = ""


Sink = Callable[[Outcome], None]
"""Receives each outcome, in the thread that sent the answer. It returns soon and never raises."""
