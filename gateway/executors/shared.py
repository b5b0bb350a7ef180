"""Requests and answers as they cross between processes: words as JSON in one file, bulk bytes in another.

Both files are memory without a name. The bytes of a study are received into one and read where they lie; an answer's
arrays are allocated in one by ``request.empty``, and others are written into it once.
"""

import fcntl
import json
import mmap
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np

from gateway.contract import Part, Request, Result
from gateway.errors import from_words, to_words
from gateway.executors.messages import Words
from gateway.running import Card, Run
from gateway.spool import attached, shared_file
from gateway.unnamed import UnnamedFile

ALIGNMENT = 64
"""Where an array begins is a multiple of this many bytes, as numpy's own allocator has it."""


def write_words(words: Words) -> UnnamedFile:
    """JSON of any size as a file to hand over."""
    file = UnnamedFile.in_memory()
    file.write(json.dumps(words, separators=(",", ":")).encode())
    return file


def read_words(file: UnnamedFile) -> Words:
    """The twin of ``write_words``."""
    with os.fdopen(os.dup(file.descriptor), "rb") as stream:
        stream.seek(0)
        words: Words = json.load(stream)
        return words


def give_request(request: Request) -> list[UnnamedFile]:
    """A request as files: its words, and its parts where it has any. These lie in one shared spool."""
    bulk, ranges = shared_file(request.instances)
    words = {
        "json": request.json,
        "input_digest": request.input_digest,
        "request_id": request.request_id,
        "accept": request.accept,
        "received": request.received.isoformat(),
        "deadline": request.run.deadline,
        "parts": ranges,
    }
    return [write_words(words), *([bulk] if bulk else [])]


def take_request(files: Sequence[UnnamedFile], run: "SharedRun") -> Request:
    """The twin of ``give_request``. ``run`` gets the request's deadline."""
    words = read_words(files[0])
    run.deadline = words["deadline"]
    return Request(
        json=words["json"],
        instances=list(attached(files[1], map(tuple, words["parts"]))) if len(files) > 1 else [],
        input_digest=words["input_digest"],
        request_id=words["request_id"],
        accept=words["accept"],
        received=datetime.fromisoformat(words["received"]),
        run=run,
    )


class SharedRun(Run):
    """A run whose ``empty`` gives arrays in a file that the answer is sent from."""

    def __init__(self) -> None:
        super().__init__()
        self._file: UnnamedFile | None = None
        self._size = 0
        self._regions: list[tuple[int, int, int]] = []
        """Address, offset in the file, and length, of each array in it."""

    def empty(self, shape: Sequence[int], dtype: Any) -> "np.ndarray[Any, Any]":
        """See ``Run.empty``."""
        count = int(np.prod(shape, dtype=np.int64))
        length = count * np.dtype(dtype).itemsize
        if not length:
            return np.empty(shape, dtype)
        offset, file = self._room(length)
        pages = mmap.mmap(file.descriptor, length, offset=offset)
        found = np.frombuffer(pages, dtype, count).reshape(shape)
        self._regions.append((found.__array_interface__["data"][0], offset, length))
        return found

    def _room(self, length: int) -> tuple[int, UnnamedFile]:
        """So many more bytes at the end of the file, from a page's beginning on."""
        self._file = self._file or UnnamedFile.in_memory()
        offset = -(-self._size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        self._size = offset + length
        os.ftruncate(self._file.descriptor, self._size)
        return offset, self._file

    def place(self, data: memoryview) -> tuple[int, int]:
        """Where in the file these bytes lie: where they were allocated, or at its end, written there now."""
        if not data.nbytes:
            return 0, 0
        address = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
        for start, offset, length in self._regions:
            if start <= address and address + data.nbytes <= start + length:
                return offset + address - start, data.nbytes
        self._file = self._file or UnnamedFile.in_memory()
        offset = -(-self._size // ALIGNMENT) * ALIGNMENT
        self._size = offset + data.nbytes
        view = data.cast("B")
        while view:
            count = os.pwrite(self._file.descriptor, view, offset)
            view, offset = view[count:], offset + count
        return self._size - data.nbytes, data.nbytes

    def sealed(self) -> UnnamedFile | None:
        """The file, which can shrink no more: a mapping of it is safe in another process."""
        if self._file is not None:
            fcntl.fcntl(self._file.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        return self._file


def give_result(result: Result, run: SharedRun) -> list[UnnamedFile]:
    """A result as files: its words, and its bytes."""
    pieces = [memoryview(result.json_bytes), *(part.data for part in result.parts)]
    places = [run.place(data) for data in pieces]
    words = {
        "media_types": [part.media_type for part in result.parts],
        "places": places,
        "input_digest": result.input_digest,
        "seconds": result.seconds,
        "phases": dict(result.phases),
        "batch_size": result.batch_size,
        "card": asdict(result.card),
    }
    bulk = run.sealed()
    return [write_words(words), *([bulk] if bulk else [])]


def give_error(error: Exception) -> list[UnnamedFile]:
    """A GatewayError as a file."""
    return [write_words({"error": to_words(error)})]  # type: ignore[arg-type]


def take_outcome(files: Sequence[UnnamedFile]) -> Result | Exception:
    """The twin of ``give_result`` and ``give_error``."""
    words = read_words(files[0])
    if "error" in words:
        return from_words(words["error"])
    pages = (
        memoryview(mmap.mmap(files[1].descriptor, 0, access=mmap.ACCESS_READ)) if len(files) > 1 else memoryview(b"")
    )
    data = [pages[offset : offset + length] for offset, length in words["places"]]
    parts = [Part(media_type, view) for media_type, view in zip(words["media_types"], data[1:], strict=True)]
    return Result(
        bytes(data[0]),
        parts,
        words["input_digest"],
        words["seconds"],
        words["phases"],
        words["batch_size"],
        Card(**words["card"]),
    )
