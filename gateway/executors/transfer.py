"""Requests and answers as they cross between processes: words as JSON in one file, bulk bytes in another.

Both files are memory without a name. The bytes of a study are received into one and read where they lie; an answer's
arrays are allocated in one by ``request.empty``, and others are written into it once. Before a model's next call
nothing of its process can change them any more.
"""

import contextlib
import fcntl
import json
import mmap
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from gateway.contract.execution import Card, RequestContext
from gateway.contract.requests import JSON, BinaryPart, EncodedAnswer, Request, Result
from gateway.errors import from_words, to_words
from gateway.executors.messages import Words
from gateway.spool.anonymous_files import AnonymousFile
from gateway.spool.parts import attached, shared_file

Piece = AnonymousFile | memoryview
"""Bytes of another process: a file of it, or memory that an object store of this machine shares, read-only."""

ALIGNMENT = 64
"""Where an array begins is a multiple of this many bytes, as numpy's own allocator has it."""


def write_words(words: Words) -> AnonymousFile:
    """JSON of any size as a file to hand over."""
    file = AnonymousFile.in_memory()
    file.write(json.dumps(words, separators=(",", ":")).encode())
    return file


def read_words(file: Piece) -> Words:
    """The twin of ``write_words``."""
    if isinstance(file, memoryview):
        return json.loads(bytes(file))  # type: ignore[no-any-return]
    with os.fdopen(os.dup(file.descriptor), "rb") as stream:
        stream.seek(0)
        words: Words = json.load(stream)
        return words


def read_bytes(file: AnonymousFile) -> bytes:
    """All bytes of a file that another process has written."""
    return b"".join(map(bytes, file.read(0, os.fstat(file.descriptor).st_size)))


def write_request(request: Request) -> list[AnonymousFile]:
    """A request as files: its words, and its parts where it has any. These lie in one shared spool."""
    bulk, ranges = shared_file(request.instances)
    words = {
        "json": request.json,
        "input_digest": request.input_digest,
        "request_id": request.request_id,
        "accept": request.accept,
        "received": request.received.isoformat(),
        "deadline": request.context.deadline,
        "max_decoded": request.context.max_decoded,
        "parts": ranges,
    }
    return [write_words(words), *([bulk] if bulk else [])]


def read_request(files: Sequence[Piece], context: "TransferContext") -> Request:
    """The twin of ``give_request``. ``context`` gets the request's deadline and limit."""
    words = read_words(files[0])
    context.deadline, context.max_decoded = words["deadline"], words["max_decoded"]
    return Request(
        json=words["json"],
        instances=list(attached(files[1], map(tuple, words["parts"]))) if len(files) > 1 else [],
        input_digest=words["input_digest"],
        request_id=words["request_id"],
        accept=words["accept"],
        received=datetime.fromisoformat(words["received"]),
        context=context,
    )


def write_question(question: JSON, shown: EncodedAnswer | None) -> list[AnonymousFile]:
    """A question as files: its words, and the bytes of the answer that is shown with it."""
    if shown is None:
        return [write_words({"question": question})]
    context = TransferContext()  # of its own: the model goes on with the arrays of its request
    places = context.place([memoryview(shown.json_bytes), *(part.data for part in shown.parts)])
    words = {"question": question, "media_types": [part.media_type for part in shown.parts], "places": places}
    return _with_bulk(words, context)


def read_question(files: Sequence[AnonymousFile]) -> tuple[JSON, EncodedAnswer | None]:
    """The twin of ``write_question``."""
    words = read_words(files[0])
    if "places" not in words:
        return words["question"], None
    data, parts = _placed(words, files)
    return words["question"], EncodedAnswer(data, parts)


def _with_bulk(words: Words, context: "TransferContext") -> list[AnonymousFile]:
    bulk = context.sealed()
    return [write_words(words), *([bulk] if bulk else [])]


def _placed(words: Words, files: Sequence[AnonymousFile]) -> tuple[bytes, list[BinaryPart]]:
    """Return the JSON and the parts of an answer in the second file, where there is one."""
    pages = (
        memoryview(mmap.mmap(files[1].descriptor, 0, access=mmap.ACCESS_READ)) if len(files) > 1 else memoryview(b"")
    )
    data = [pages[offset : offset + length] for offset, length in words["places"]]
    parts = [BinaryPart(media_type, view) for media_type, view in zip(words["media_types"], data[1:], strict=True)]
    return bytes(data[0]), parts


class _Region(NamedTuple):
    """An array of ``request.empty``: its pages, the address of the first, and where they lie in the file."""

    pages: mmap.mmap
    address: int
    offset: int
    length: int

    def holds(self, address: int, size: int) -> bool:
        """Return True if a range of bytes at an address is its own."""
        return self.address <= address and address + size <= self.address + self.length


class TransferContext(RequestContext):
    """A run whose ``empty`` gives arrays in a file that the answer is sent from."""

    def __init__(self) -> None:
        super().__init__()
        self._file: AnonymousFile | None = None
        self._size = 0
        self._regions: list[_Region] = []

    def empty(self, shape: Sequence[int], dtype: Any) -> "np.ndarray[Any, Any]":
        """See ``RequestContext.empty``."""
        count = int(np.prod(shape, dtype=np.int64))
        length = count * np.dtype(dtype).itemsize
        if not length:
            return np.empty(shape, dtype)
        offset, file = self._room(length, mmap.ALLOCATIONGRANULARITY)
        os.ftruncate(file.descriptor, self._size)
        pages = mmap.mmap(file.descriptor, length, offset=offset)
        found = np.frombuffer(pages, dtype, count).reshape(shape)
        self._regions.append(_Region(pages, found.__array_interface__["data"][0], offset, length))
        return found

    def _room(self, length: int, alignment: int = ALIGNMENT) -> tuple[int, AnonymousFile]:
        """Reserve bytes at the end of the file."""
        self._file = self._file or AnonymousFile.in_memory()
        offset = -(-self._size // alignment) * alignment
        self._size = offset + length
        return offset, self._file

    def place(self, pieces: Sequence[memoryview]) -> list[tuple[int, int]]:
        """Return the place of these bytes in the file, an offset and a length each: allocated there, or written now.

        Those that were allocated in the file are released. Where the model still refers to an array of theirs, all
        bytes go to another file, which it cannot change.
        """
        places = [self._allocated(piece) for piece in pieces]
        allocated = [place for place in places if place is not None]
        for piece, place in zip(pieces, places, strict=True):
            if place is not None:
                with contextlib.suppress(BufferError):  # something lies on it, and so on the array
                    piece.release()
        kept = None if self._closed(allocated) else self._file
        if kept is not None:
            self._file, self._size = None, 0
        return [
            self._written(piece) if place is None else self._copied(kept, *place) if kept else place
            for piece, place in zip(pieces, places, strict=True)
        ]

    def _allocated(self, piece: memoryview) -> tuple[int, int] | None:
        """Offset and length of a piece of an array from ``empty``; None for any other."""
        size = piece.nbytes
        address = np.frombuffer(piece, np.uint8).__array_interface__["data"][0] if size else 0
        region = next((one for one in self._regions if size and one.holds(address, size)), None)
        return None if region is None else (region.offset + address - region.address, size)

    def _closed(self, places: Sequence[tuple[int, int]]) -> bool:
        """Unmap the arrays at these places; False where a view of one is left, whoever has it."""
        try:
            for offset, _ in places:
                for region in self._regions:
                    if region.offset <= offset < region.offset + region.length:
                        region.pages.close()
        except BufferError:
            return False
        return True

    def _copied(self, file: AnonymousFile, start: int, length: int) -> tuple[int, int]:
        """Copy a stretch of another file to the end of this one."""
        offset, target = self._room(length)
        os.lseek(target.descriptor, offset, os.SEEK_SET)
        while length:
            count = os.sendfile(target.descriptor, file.descriptor, start, length)
            start, length = start + count, length - count
        return offset, self._size - offset

    def _written(self, piece: memoryview) -> tuple[int, int]:
        if not piece.nbytes:
            return 0, 0
        offset, file = self._room(piece.nbytes)
        view, at = piece.cast("B"), offset
        while view:
            count = os.pwrite(file.descriptor, view, at)
            view, at = view[count:], at + count
        return offset, piece.nbytes

    def sealed(self) -> AnonymousFile | None:
        """The file, which can shrink no more: a mapping of it is safe in another process."""
        if self._file is not None:
            fcntl.fcntl(self._file.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        return self._file


def write_result(result: Result, context: TransferContext) -> list[AnonymousFile]:
    """A result as files: its words, and its bytes. Its parts may be gone then: see ``SharedRun.place``."""
    places = context.place([memoryview(result.json_bytes), *(part.data for part in result.parts)])
    words = {
        "media_types": [part.media_type for part in result.parts],
        "places": places,
        "input_digest": result.input_digest,
        "seconds": result.seconds,
        "phases": dict(result.phases),
        "batch_size": result.batch_size,
        "card": asdict(result.card),
    }
    return _with_bulk(words, context)


def write_error(error: Exception) -> list[AnonymousFile]:
    """A GatewayError as a file."""
    return [write_words({"error": to_words(error)})]  # type: ignore[arg-type]


def read_outcome(files: Sequence[AnonymousFile]) -> Result | Exception:
    """The twin of ``give_result`` and ``give_error``."""
    words = read_words(files[0])
    if "error" in words:
        return from_words(words["error"])
    data, parts = _placed(words, files)
    return Result(
        data,
        parts,
        words["input_digest"],
        words["seconds"],
        words["phases"],
        words["batch_size"],
        Card(**words["card"]),
    )
