"""The nouns: what a model is given, what it gives back, and the one shape in which the gateway runs it."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

if TYPE_CHECKING:
    import numpy as np

from gateway.contract.execution import Card, Execution, RequestContext
from gateway.errors import Cancelled

JSON = dict[str, Any]
Buffer = Any
"""A binary component: numpy array, bytes, bytearray, memoryview, open binary file, BytesIO or pydicom Dataset."""

Handler = Callable[[JSON, list[BinaryIO], str], tuple[JSON, Sequence[Buffer]]]
"""The plain function: ``handler(json_input, dicom_instances, input_digest) -> (json_response, buffers)``."""


@dataclass(frozen=True)
class Request:
    """One inference request in words: no HTTP, no framing.

    ``instances`` are all files of the request in its order, attachments among them. ``accept`` is what the caller takes
    as an answer, in the words of an Accept header (RFC 9110 12.5.1). ``received`` carries its time zone. ``names`` are
    those of the parts behind ``instances``, where somebody asks for them.
    """

    json: JSON
    instances: list[BinaryIO]
    input_digest: str
    request_id: str = ""
    accept: str = ""
    received: datetime = field(default_factory=lambda: datetime.now(UTC))
    context: RequestContext = field(default_factory=RequestContext, repr=False, compare=False)
    names: tuple[str | None, ...] = ()

    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more; long work asks now and then, and stops by ``Cancelled``."""
        return self.context.cancelled()

    def progress(self, done: float, total: float, text: str = "") -> None:
        """Tell how far the work has come: ``done`` of ``total``, in any unit; raises Cancelled when it is in vain."""
        self.context.progress(done, total, text)
        if self.cancelled():
            raise Cancelled

    def empty(self, shape: Sequence[int], dtype: Any) -> "np.ndarray[Any, Any]":
        """An uninitialised array for an answer, allocated where it leaves without a copy; as ``numpy.empty``."""
        return self.context.empty(shape, dtype)


current: ContextVar[Request] = ContextVar("gateway.request")


def current_request() -> Request:
    """The request that this code is answering. Raises LookupError outside of a model."""
    return current.get()


def stop_if_cancelled() -> None:
    """Raise Cancelled where nobody waits for the request that is being answered, if one is."""
    request = current.get(None)
    if request is not None and request.cancelled():
        raise Cancelled


def measure(phase: str) -> AbstractContextManager[None]:
    """Count the time of a block for a phase of the request that is being answered, if one is."""
    request = current.get(None)
    return nullcontext() if request is None else request.context.measure(phase)


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
class BinaryPart:
    """One binary part of an answer: its media type and its bytes."""

    media_type: str
    data: memoryview


@dataclass(frozen=True)
class Result:
    """A checked answer: the JSON bytes exactly as they will be sent, and the binary parts in order.

    ``seconds`` are the model's, ``phases`` those of its steps by the names of ``observe.outcomes.PHASES``.
    """

    json_bytes: bytes
    parts: list[BinaryPart]
    input_digest: str
    seconds: float
    phases: Mapping[str, float] = field(default_factory=dict)
    batch_size: int = 1
    card: Card = Card()


class Model(Protocol):
    """What the gateway runs. One that declares a ``Batch`` has ``predict_batch`` and ``batch_key`` too."""

    @property
    def name(self) -> str:
        """How logs and errors call it."""

    @property
    def execution(self) -> Execution:
        """How it wants to be run."""

    def predict(self, request: Request) -> tuple[JSON, Sequence[Buffer]]:
        """Answer one request."""


@dataclass(frozen=True)
class PlainModel:
    """A plain handler as a model; the handler is called with three positional arguments."""

    name: str
    handler: Handler
    execution: Execution = Execution()

    def predict(self, request: Request) -> tuple[JSON, Sequence[Buffer]]:
        """Call the handler as existing services expect."""
        return self.handler(request.json, request.instances, request.input_digest)

    def predict_batch(self, requests: Sequence[Request]) -> Sequence[Any]:
        """Call a handler that declared a ``Batch``: three lists in, one answer for each request out."""
        lists = (
            [one.json for one in requests],
            [one.instances for one in requests],
            [r.input_digest for r in requests],
        )
        answers: Sequence[Any] = self.handler(*lists)  # type: ignore[arg-type]
        return answers

    def batch_key(self, request: Request) -> str:
        """What requests must have in common to be answered together: all of their JSON."""
        return json.dumps(request.json, sort_keys=True)


def adapt(name: str, handler: Handler, execution: Execution | None = None) -> Model:
    """Make a model of a plain function."""
    return PlainModel(name, handler, execution or Execution())
