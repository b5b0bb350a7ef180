"""Digests over what came in and what goes out, computed beside the work rather than after it.

Hashing is the slowest thing the gateway does to a byte, and ``hashlib`` lets go of the GIL while it does it. A large
message is therefore hashed in a thread of its own while the next piece is received or sent; a small one is not worth
the thread.
"""

import hashlib
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

OVERLAP_BYTES = 1 << 20
"""From here on a thread pays: starting one costs as much as hashing some 50 KiB."""
BACKLOG = 8
"""Pieces handed over and not yet hashed: bounds what is held twice to BACKLOG times the size of a piece."""

Buffer = bytes | bytearray | memoryview


class Hash(Protocol):
    """What hashlib and blake3 have in common."""

    def update(self, data: Buffer, /) -> object:
        """Add bytes."""

    def hexdigest(self) -> str:
        """64 lower-case hexadecimal digits."""


def _blake3() -> Hash:
    try:
        from blake3 import blake3
    except ImportError as error:
        raise ValueError("digest=blake3 needs the blake3 package: install inference-gateway[blake3].") from error
    made: Hash = blake3()
    return made


ALGORITHMS: dict[str, Callable[[], Hash]] = {"sha256": hashlib.sha256, "blake3": _blake3}
"""All of 256 bits, so that ``hashes`` keeps its 129 characters."""


def hash_function(algorithm: str) -> Callable[[], Hash]:
    """The maker of hashes of this name. Raises ValueError for an unknown one, or one whose package is missing."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"digest should be one of {', '.join(ALGORITHMS)}.")
    ALGORITHMS[algorithm]()
    return ALGORITHMS[algorithm]


class Digest:
    """A running digest. Pieces given to ``update`` must not change afterwards. Use as a context manager."""

    def __init__(self, new: Callable[[], Hash] = hashlib.sha256) -> None:
        self._hash = new()
        self._seen = 0
        self._queue: queue.Queue[Buffer | None] | None = None
        self._thread: threading.Thread | None = None

    def update(self, data: Buffer) -> None:
        """Add bytes; returns at once while the backlog is short."""
        self._seen += len(data)
        if self._queue is not None:
            self._queue.put(data)
        elif self._seen <= OVERLAP_BYTES:
            self._hash.update(data)
        else:
            self._start().put(data)

    def hexdigest(self) -> str:
        """The digest of all bytes given, as 64 lower-case hexadecimal digits. Nothing may be added after it."""
        self.close()
        return self._hash.hexdigest()

    def close(self) -> None:
        """Finish the backlog and end the thread."""
        if self._thread is not None and self._queue is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _start(self) -> "queue.Queue[Buffer | None]":
        self._queue = queue.Queue(BACKLOG)
        self._thread = threading.Thread(target=self._work, args=(self._queue,), name="digest", daemon=True)
        self._thread.start()
        return self._queue

    def _work(self, pieces: "queue.Queue[Buffer | None]") -> None:
        while (piece := pieces.get()) is not None:
            self._hash.update(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
