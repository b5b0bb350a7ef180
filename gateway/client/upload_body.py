"""The body of a request: JSON, then files, hashed as they are sent and never in memory together."""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from gateway.client.errors import SourceUnreadable
from gateway.client.parallel import Tally
from gateway.protocol.digests import Hash
from gateway.wire import OutgoingPart, content_length, encode, new_boundary

Source = Path | bytes | BinaryIO
"""One binary part to send: a file's path (opened only when its turn comes), bytes, or a seekable binary file."""

OnProgress = Callable[[int, int], None]
"""Called after each piece with the bytes sent so far and the bytes of the whole body."""

NewHash = Callable[[], Hash]

PIECE = 1 << 20
"""Bytes read at once: large enough that hashing and sending, not Python, take the time."""


class UploadBody:
    """A ``multipart/related`` body (RFC 2387) of known length, to be iterated once.

    In pieces of 1 MiB, each file opened when its turn comes: a tenth of the CPU of requests-toolbelt's encoder, from
    which requests reads 16 KiB at a time and which keeps every file open.

    ``parts`` gives each part's media type and source, the JSON first. ``input_digest`` is their digest, 64
    hexadecimal digits, once all are sent; without ``new_hash`` they are not hashed.
    """

    def __init__(
        self,
        parts: Iterable[tuple[str, Source]],
        progress: OnProgress | None = None,
        new_hash: NewHash | None = hashlib.sha256,
    ) -> None:
        self.boundary = new_boundary()
        self._digest = new_hash() if new_hash else None
        self._progress = progress
        self._parts = [self._part(number, *part) for number, part in enumerate(parts)]
        self._length = content_length(self.boundary, self._parts)

    @property
    def content_type(self) -> str:
        """The request's Content-Type; the boundary last and quoted, as existing services expect it."""
        return f'multipart/related; type="application/json"; boundary="{self.boundary}"'

    @property
    def input_digest(self) -> str:
        """The digest that the server must have computed as well."""
        return self._digest.hexdigest() if self._digest else ""

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes | memoryview]:
        sent = 0
        for piece in encode(self.boundary, self._parts):
            yield piece
            sent += len(piece)
            if self._progress:
                self._progress(sent, self._length)

    def _part(self, number: int, media_type: str, source: Source) -> OutgoingPart:
        # A file's own name is not sent: it often has the patient's.
        name = str(number) if number else "request_json"
        headers = (
            ("Content-Disposition", f'form-data; name="{name}"; filename="{name}"'),
            ("Content-Type", media_type),
        )
        length = _length(source)
        return OutgoingPart(headers, length, self._hashed(pieces_of(source, length)))

    def _hashed(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if self._digest:
                self._digest.update(piece)
            yield piece


def digest_of(sources: Iterable[Source], new_hash: NewHash) -> str:
    """Return the digest of a request with these parts. Raises SourceUnreadable."""
    digest = new_hash()
    for source in sources:
        for piece in pieces_of(source, _length(source)):
            digest.update(piece)
    return digest.hexdigest()


def _length(source: Source) -> int:
    if isinstance(source, bytes):
        return len(source)
    try:
        return source.stat().st_size if isinstance(source, Path) else source.seek(0, io.SEEK_END)
    except OSError as error:
        raise SourceUnreadable(_why(source, error)) from error


def pieces_of(source: Source, length: int) -> Iterator[bytes]:
    """Yield exactly ``length`` bytes of ``source``, as announced in its part's header. Raises SourceUnreadable."""
    try:
        with _opened(source) as file:
            while length and (piece := file.read(min(PIECE, length))):
                length -= len(piece)
                yield piece
    except OSError as error:
        raise SourceUnreadable(_why(source, error)) from error
    if length:
        raise SourceUnreadable(f"{_name(source)} became shorter while it was sent.")


@contextmanager
def _opened(source: Source) -> Iterator[BinaryIO]:
    """Open ``source`` at its start; a file that the caller opened stays open."""
    if isinstance(source, Path):
        with source.open("rb") as opened:
            yield opened
    else:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        file.seek(0)
        yield file


def _name(source: Source) -> str:
    return str(source) if isinstance(source, Path) else "A file in memory"


def _why(source: Source, error: OSError) -> str:
    return f"{_name(source)} cannot be read: {error.strerror or error}."


class ChunkBody:
    """A body of ``words`` as JSON, then files of ``size`` bytes in all, which ``tally`` counts."""

    def __init__(self, words: Any, media_type: str, files: Sequence[Source], size: int, tally: Tally) -> None:
        self._words = json.dumps(words).encode()
        self._media_type = media_type
        self._files = files
        self._size = size
        self._tally = tally
        self._counted = 0

    def body(self) -> dict[str, Any]:
        """Return the body of a retry, which sends the bytes of the last try again."""
        self._report(0, 1)
        files = ((self._media_type, file) for file in self._files)
        made = UploadBody([("application/json", self._words), *files], self._report, None)
        return {"data": made, "headers": {"Content-Type": made.content_type}}

    def _report(self, sent: int, total: int) -> None:
        """Report bytes of the body as bytes of the files, which are nearly all of it."""
        now = sent * self._size // total
        self._tally.add(now - self._counted)
        self._counted = now
