"""The outcome of one request in numbers and digests, from which logs, metrics, traces and audit are made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

PHASES = ("receive", "hash", "decode", "queue", "predict", "encode", "send")
"""Where a request's time goes, in its order. What is measured under one name is not counted under another."""

DOORS = ("multipart", "replay")
"""The protocols by which a request comes."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A request that is over, answered or not. Holds no patient data.

    ``door`` names the protocol by which it came, one of ``DOORS``. Digests are hexadecimal, "" where the request
    did not come so far. ``reason`` is the ``code`` of the problem it was answered with, "" for an answer. ``phases``
    are seconds by the names of ``PHASES``; ``seconds`` is all of its time, from its head to the last byte sent.
    ``received`` carries its time zone. ``weights_digest`` stands for the model's weights alone, "" where it declares
    none; ``model_digest`` for its source, version, weights and config.
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
"""What is told of each outcome, in the thread that sent the answer. It returns soon and never raises."""
