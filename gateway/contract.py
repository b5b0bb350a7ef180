"""The nouns: what a model is given, what it gives back, and the one shape in which the gateway runs it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO, Protocol

JSON = dict[str, Any]
Buffer = Any
"""A binary component: numpy array, bytes, bytearray, memoryview, open binary file, BytesIO or pydicom Dataset."""

Handler = Callable[[JSON, list[BinaryIO], str], tuple[JSON, Sequence[Buffer]]]
"""The plain function: ``handler(json_input, dicom_instances, input_digest) -> (json_response, buffers)``."""


@dataclass(frozen=True)
class Request:
    """One inference request in words: no HTTP, no framing.

    ``instances`` are all files of the request in its order, attachments among them. ``accept`` is what the caller takes
    as an answer, in the words of an Accept header (RFC 9110 12.5.1). ``received`` carries its time zone.
    """

    json: JSON
    instances: list[BinaryIO]
    input_digest: str
    request_id: str = ""
    accept: str = ""
    received: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class Attachment:
    """A file of the request that is not DICOM, such as a contour or a table; valid until the model returns."""

    file: BinaryIO

    def read(self) -> bytes:
        """All of its bytes, wherever the file stands."""
        self.file.seek(0)
        return self.file.read()


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where an answer comes from: enough to make the same DICOM objects again from the same input.

    The digests are sha256 in hexadecimal: of the input as in the answer's hashes, of the parameters after their
    defaults were filled in, of the model (its source, weights and config). ``received`` is the time of receipt, with
    its time zone. ``research`` marks content that is not for clinical use.
    """

    model_name: str
    model_version: str
    input_digest: str
    parameters_digest: str
    received: datetime
    model_digest: str = ""
    research: bool = True
    gateway_name: str = "gateway"
    gateway_version: str = ""


@dataclass(frozen=True)
class Part:
    """One binary part of an answer: its media type and its bytes."""

    media_type: str
    data: memoryview


@dataclass(frozen=True)
class Result:
    """A checked answer: the JSON bytes exactly as they will be sent, the binary parts in order, the model's seconds."""

    json_bytes: bytes
    parts: list[Part]
    input_digest: str
    seconds: float


class Model(Protocol):
    """What the gateway runs."""

    @property
    def name(self) -> str:
        """How logs and errors call it."""

    def predict(self, request: Request) -> tuple[JSON, Sequence[Buffer]]:
        """Answer one request."""


class Loaded(Model, Protocol):
    """A model that must be set up before it answers, and closed at the end."""

    @property
    def health(self) -> str:
        """READY, LOADING until it is, FAILED where it never will be."""

    def setup(self) -> None:
        """Load what it needs, once; a second call waits for the first. Raises what the loading raises."""

    def close(self) -> None:
        """Let go of what was loaded."""


@dataclass(frozen=True)
class PlainModel:
    """A plain handler as a model; the handler is called with three positional arguments."""

    name: str
    handler: Handler

    def predict(self, request: Request) -> tuple[JSON, Sequence[Buffer]]:
        """Call the handler as existing services expect."""
        return self.handler(request.json, request.instances, request.input_digest)


def adapt(name: str, handler: Handler) -> Model:
    """Make a model of a plain function."""
    return PlainModel(name, handler)
