"""The nouns: what a model is given, what it gives back, and the one shape in which the gateway runs it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

JSON = dict[str, Any]
Buffer = Any
"""A binary component: numpy array, bytes, bytearray, memoryview, open binary file, BytesIO or pydicom Dataset."""

Handler = Callable[[JSON, list[BinaryIO], str], tuple[JSON, Sequence[Buffer]]]
"""The plain function: ``handler(json_input, dicom_instances, input_digest) -> (json_response, buffers)``."""


@dataclass(frozen=True)
class Request:
    """One inference request in words: no HTTP, no framing."""

    json: JSON
    instances: list[BinaryIO]
    input_digest: str
    request_id: str = ""


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
