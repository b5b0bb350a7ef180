"""The nouns: the request that a model gets, the answer that it returns, and the result that is sent."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Self

if TYPE_CHECKING:
    import numpy as np

from gateway.contract.brief import Brief
from gateway.contract.execution import Card, RequestContext
from gateway.errors import AnswerInvalid, Cancelled

JSON = dict[str, Any]
MODALITY = "$modality"
"""The member of a request's JSON that states the modality of its NIfTI files; no parameter can have this name."""
LONGEST_MODALITY = 16
"""Characters of a modality (CS, PS3.5 6.2)."""
VOLUMES = "$volumes"
"""The member that states which argument of the model each of the NIfTI files is, by a list of names in their order."""
Buffer = Any
"""A binary component: numpy array, bytes, bytearray, memoryview, open binary file, BytesIO or pydicom Dataset."""

Handler = Callable[[JSON, list[BinaryIO], str], tuple[JSON, Sequence[Buffer]]]
"""The plain function: ``handler(json_input, dicom_instances, input_digest) -> (json_response, buffers)``."""


@dataclass(frozen=True, repr=False)
class Request(Brief):
    """An inference request without HTTP and framing.

    ``instances`` are all files of the request in its order, attachments among them. ``accept`` is what the caller takes
    as an answer, in the words of an Accept header (RFC 9110 12.5.1). ``received`` carries its time zone. ``names`` are
    those of the parts behind ``instances``, where somebody asks for them.
    """

    _shown = frozenset({"request_id", "input_digest"})

    json: JSON
    instances: list[BinaryIO]
    input_digest: str
    request_id: str = ""
    accept: str = ""
    received: datetime = field(default_factory=lambda: datetime.now(UTC))
    context: RequestContext = field(default_factory=RequestContext, repr=False, compare=False)
    names: tuple[str | None, ...] = ()

    def cancelled(self) -> bool:
        """Return True once the answer is not wanted; long work checks it now and then, and stops by ``Cancelled``."""
        return self.context.cancelled()

    def progress(self, done: float, total: float, text: str = "") -> None:
        """Tell how far the work has come: ``done`` of ``total``, in any unit; raises Cancelled when it is in vain."""
        self.context.progress(done, total, text)
        if self.cancelled():
            raise Cancelled

    def log(self, text: str) -> None:
        """Send a line to the caller, where the request is a run; it never enters the server's log."""
        self.context.log(text)

    def preview(self, picture: "np.ndarray[Any, Any]", text: str = "") -> None:
        """Show a picture to the caller, where the request is a run: uint8, (row, column) or (row, column, 3).

        The first ``MAX_PREVIEWS`` are shown. Raises ValueError for another array, and Cancelled when it is in vain.
        """
        from gateway.contract.interaction import Preview  # which loads numpy

        preview = Preview(picture, text)
        if self.context.shows_previews():
            self.context.preview(preview.png(), text)
        if self.cancelled():
            raise Cancelled

    def ask(self, question: JSON, shown: "EncodedAnswer | None" = None) -> JSON:
        """Ask the caller of a run, and wait for its input; both are JSON. ``shown`` is the answer so far.

        The time of waiting does not count to the deadline.
        Raises Cancelled once the answer is not wanted, and RunRequired where the request is not a run.
        """
        return self.context.ask(question, shown)

    def empty(self, shape: Sequence[int], dtype: Any) -> "np.ndarray[Any, Any]":
        """An uninitialised array for an answer, allocated where it leaves without a copy; as ``numpy.empty``."""
        return self.context.empty(shape, dtype)


current: ContextVar[Request] = ContextVar("gateway.request")


@contextmanager
def answering(request: Request) -> Iterator[None]:
    """Have the code of the block answer this request: ``current_request`` returns it there."""
    token = current.set(request)
    try:
        yield
    finally:
        current.reset(token)


def current_request() -> Request:
    """The request that this code is answering. Raises LookupError outside of a model."""
    return current.get()


def stop_if_cancelled() -> None:
    """Raise Cancelled where nobody waits for the request that is being answered, if one is."""
    request = current.get(None)
    if request is not None and request.cancelled():
        raise Cancelled


def reserve(count: int) -> None:
    """Count bytes of memory that are about to be made from the files of the request that is answered, if one is.

    Raises LimitExceeded (``max_decoded_bytes``).
    """
    request = current.get(None)
    if request is not None:
        request.context.reserve(count)


def measure(phase: str) -> AbstractContextManager[None]:
    """Count the time of a block for a phase of the request that is being answered, if one is."""
    request = current.get(None)
    return nullcontext() if request is None else request.context.measure(phase)


@dataclass(frozen=True, repr=False)
class Attachment(Brief):
    """A file of the request that is not DICOM, such as a contour or a table; valid until the model returns."""

    file: BinaryIO

    def read(self) -> bytes:
        """All of its bytes, wherever the file stands."""
        self.file.seek(0)
        return self.file.read()


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The origin of an answer: enough to make the same DICOM objects again from the same input.

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


@dataclass(frozen=True, repr=False)
class BinaryPart(Brief):
    """A binary part of an answer: its media type and its bytes."""

    media_type: str
    data: memoryview


class EncodedAnswer(NamedTuple):
    """An answer in bytes: its JSON exactly as it is sent, and the binary parts in order."""

    json_bytes: bytes
    parts: list[BinaryPart]


@dataclass(frozen=True, slots=True, repr=False)
class ModelAnswer(Brief):
    """The answer of a model to one request: JSON, and one buffer for each entry of its ``parts``.

    ``card`` names the model where its answers differ in that, as by their parameters; None stands for its own card.
    ``faults`` are those of the content, each with its JSON pointer, as found by a model that checks its own answers;
    None asks for the checks of protocol 1.0. ``encoded`` is the answer in bytes where its model writes these itself:
    the serializer is not called then.
    """

    json: JSON
    buffers: Sequence[Buffer] = ()
    card: Card | None = None
    faults: Sequence[AnswerInvalid] | None = None
    encoded: EncodedAnswer | None = None

    @classmethod
    def of(cls, returned: Any) -> Self:
        """Return the answer that a plain handler returned as a pair. Raises AnswerInvalid for anything else."""
        if isinstance(returned, (tuple, list)) and len(returned) == 2:
            return cls(returned[0], returned[1])
        raise AnswerInvalid(
            "", "The handler should return two things, a dict and a list of buffers: return answer, [mask]."
        )


@dataclass(frozen=True, repr=False)
class Result(Brief):
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
