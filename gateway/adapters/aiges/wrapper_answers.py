"""A wrapper's answer: checked as the original's local run checks it, then read as items to send."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.adapters.aiges.constants import AUDIO, IMAGE, STRING, VIDEO, DataBegin, DataContinue, DataEnd, DataOnce
from gateway.errors import AnswerInvalid, ModelError
from gateway.protocol.jsontext import Report
from gateway.protocol.ownership import owned

ONCE = frozenset({DataOnce})
STREAMED = frozenset({DataBegin, DataContinue, DataEnd})

MEDIA_TYPES = {STRING: "text/plain", AUDIO: "audio/x-raw", IMAGE: "image/x-raw", VIDEO: "video/x-raw"}
"""The media type of each type, unless the first bytes of the data have a signature."""
SIGNATURES = {
    IMAGE: {
        b"\x89PNG\r\n\x1a\n": "image/png",
        b"\xff\xd8\xff": "image/jpeg",
        b"GIF8": "image/gif",
        b"BM": "image/bmp",
        b"II*\0": "image/tiff",
        b"MM\0*": "image/tiff",
    },
    AUDIO: {b"RIFF": "audio/wav", b"OggS": "audio/ogg", b"fLaC": "audio/flac", b"ID3": "audio/mpeg"},
    VIDEO: {b"\x1aE\xdf\xa3": "video/webm", b"OggS": "video/ogg"},
}


class WrapperError(ModelError):
    """The wrapper answered with an error code of its own; the problem carries it as ``error_code``."""

    code = "wrapper-error"
    title = "The wrapper answered with an error"


class VerbFailed(WrapperError):
    """A verb of the wrapper returned an error code: it did not start, or opened no session."""


class Unusable(AnswerInvalid):
    """A fault that leaves nothing to send, however lenient the settings."""


@dataclass(frozen=True)
class Item:
    """A piece of an answer as it is sent."""

    key: str
    type: int
    status: int
    data: memoryview
    media_type: str

    def entry(self) -> dict[str, Any]:
        """Return its entry in the JSON of the answer."""
        return {"key": self.key, "type": self.type, "status": self.status, "len": len(self.data)}


@dataclass(frozen=True)
class Rules:
    """The rules for an answer. ``accepts`` are the declared keys and types; None accepts any.

    The answers of a ``stream`` may have any keys and types, and a key twice: the original does not check them.
    """

    response: type[Any]
    accepts: dict[str, int] | None
    stream: bool = False

    def faults(self, response: Any) -> Iterator[AnswerInvalid]:
        """Yield the faults in the original's order; the pieces of an answer with an error code are not checked."""
        if not isinstance(response, self.response):
            yield Unusable("", "The wrapper should return a Response.")
            return
        if not isinstance(response.list, list | tuple) or not response.list:
            yield Unusable("/list", "The list of the Response should not be empty.")
            return
        if response.error_code:
            return
        checks = (_contents, self._statuses) if self.stream else (_contents, _keys, self._statuses, self._declared)
        for check in checks:
            yield from check(response.list)

    def _statuses(self, pieces: Sequence[Any]) -> Iterator[AnswerInvalid]:
        statuses = STREAMED if self.stream else ONCE
        allowed = " or ".join(map(str, sorted(statuses)))
        for index, piece in enumerate(pieces):
            if piece.status not in statuses:
                yield AnswerInvalid(f"/list/{index}/status", f"The status should be {allowed}.")

    def _declared(self, pieces: Sequence[Any]) -> Iterator[AnswerInvalid]:
        for index, piece in enumerate(pieces):
            if self.accepts is None:
                continue
            if piece.key not in self.accepts:
                yield AnswerInvalid(f"/list/{index}/key", "The key is not declared in responseCls.")
            elif piece.type != self.accepts[piece.key]:
                yield AnswerInvalid(f"/list/{index}/type", "The type is not the one declared in responseCls.")


def read_items(
    response: Any,
    rules: Rules,
    *,
    report: Report,
    explain: Callable[[int], str],
    dicom: Collection[str] = (),
) -> list[Item]:
    """Read the pieces of a Response that are sent.

    ``explain`` gives the text for an error code, ``dicom`` names the keys that carry DICOM. Raises WrapperError for an
    error code, its cause the fault that the Response has beside it; Unusable for a fault that leaves nothing to send,
    and what ``report`` raises for any other.
    """
    if isinstance(response, rules.response) and response.error_code:
        code = response.error_code
        if not isinstance(code, int):
            raise Unusable("/error_code", "The error code should be a whole number.")
        detail = explain(code) or f"The wrapper answered with error code {code}."
        raise WrapperError(detail, error_code=code) from next(rules.faults(response), None)
    for fault in rules.faults(response):
        if isinstance(fault, Unusable):
            raise fault
        report(fault)
    return [_item(piece, dicom) for piece in response.list]


def media_type(kind: int, data: memoryview) -> str:
    """Return the media type of data by its first bytes, else by its declared type."""
    head = bytes(data[:8])
    named = (name for signature, name in SIGNATURES.get(kind, {}).items() if head.startswith(signature))
    return next(named, MEDIA_TYPES.get(kind, "application/octet-stream"))


def _item(piece: Any, dicom: Collection[str]) -> Item:
    data = owned(memoryview(piece.data).cast("B"), {})  # the wrapper may fill it again while this answer is sent
    named = "application/dicom" if piece.key in dicom else media_type(piece.type, data)
    return Item(piece.key, int(piece.type), int(piece.status), data, named)


def _contents(pieces: Sequence[Any]) -> Iterator[AnswerInvalid]:
    for index, piece in enumerate(pieces):
        if not _is_piece(piece):
            yield Unusable(f"/list/{index}", "An entry of the list should be a ResponseData.")
        elif not isinstance(piece.data, bytes | memoryview):
            yield Unusable(f"/list/{index}/data", "The data should be bytes or a memoryview.")
        elif piece.len != len(piece.data):
            sentence = f"len is {piece.len}, but the data has {len(piece.data)} bytes."
            yield AnswerInvalid(f"/list/{index}/len", sentence)


def _is_piece(piece: Any) -> bool:
    kinds = {"key": str, "data": object, "len": int, "type": int, "status": int}
    return all(isinstance(getattr(piece, name, None), kind) for name, kind in kinds.items())


def _keys(pieces: Sequence[Any]) -> Iterator[AnswerInvalid]:
    times = Counter(piece.key for piece in pieces)
    for index, piece in enumerate(pieces):
        if times[piece.key] > 1:
            yield AnswerInvalid(f"/list/{index}/key", "The keys of an answer should be unique.")
            return
