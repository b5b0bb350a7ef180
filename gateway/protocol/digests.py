"""Digests of requests and answers, computed while they are received and sent.

Hashing is the slowest thing the gateway does to a byte, and ``hashlib`` releases the GIL meanwhile. A large
message is therefore hashed in a thread of its own while the next piece is received or sent; a small one is not worth
the thread.
"""

import hashlib
import queue
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Protocol, Self

from gateway.extras import hint

OVERLAP_BYTES = 1 << 20
"""From here on a thread pays: starting one costs as much as hashing some 50 KiB."""
SLICE = 4 << 20
"""Bytes hashed at once: the thread looks up only this often, and ends this soon when it is no longer wanted."""

Buffer = bytes | bytearray | memoryview


class Hash(Protocol):
    """The methods that hashlib and blake3 share."""

    def update(self, data: Buffer, /) -> object:
        """Add bytes."""

    def hexdigest(self) -> str:
        """64 lower-case hexadecimal digits."""


def _blake3() -> Hash:
    try:
        from blake3 import blake3
    except ImportError as error:
        raise ValueError(f"digest=blake3 needs the package blake3; {hint('blake3')}") from error
    made: Hash = blake3()
    return made


ALGORITHMS: dict[str, Callable[[], Hash]] = {"sha256": hashlib.sha256, "blake3": _blake3}
"""All of 256 bits, so that ``hashes`` has 129 characters."""


def hash_function(algorithm: str) -> Callable[[], Hash]:
    """The maker of hashes of this name. Raises ValueError for an unknown one, or one whose package is missing."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"digest should be one of {', '.join(ALGORITHMS)}.")
    ALGORITHMS[algorithm]()
    return ALGORITHMS[algorithm]


class Digest:
    """A running digest. Its input must not change until it is done. Use as a context manager.

    Nothing is copied: the thread reads where the bytes already lie, however far it is behind.
    """

    def __init__(self, new: Callable[[], Hash] = hashlib.sha256, *, overlap: bool = True) -> None:
        """``overlap`` false hashes in the caller's thread: right where the cores are busy with other messages."""
        self._hash = new()
        self._overlap = overlap
        self._seen = self._taken = 0
        self._queue: queue.SimpleQueue[Iterable[Buffer] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._unwanted = False

    def update(self, size: int, pieces: Iterable[Buffer]) -> None:
        """Add ``size`` bytes; ``pieces`` are taken in the thread where there is one, and may read a file there."""
        self._seen += size
        if self._overlap and self._thread is None and self._seen > OVERLAP_BYTES:
            self._thread = threading.Thread(target=self._work, name="digest", daemon=True)
            self._thread.start()
        if self._thread is None:
            self._take(pieces)
        else:
            self._queue.put(pieces)

    def hexdigest(self) -> str:
        """Return the digest of all bytes, as 64 lower-case hexadecimal digits. Nothing may be added after it.

        Raises what reading the pieces raised, and RuntimeError for fewer or more bytes than were announced, as
        after ``close``: a digest of other bytes would be taken for one of these.
        """
        self._join()
        if self._failure is not None:
            raise self._failure
        if self._taken != self._seen:
            raise RuntimeError(f"the digest holds {self._taken} bytes of {self._seen}")
        return self._hash.hexdigest()

    def close(self) -> None:
        """End the thread, whatever is left to do."""
        self._unwanted = True
        self._join()

    def _join(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        try:
            while (pieces := self._queue.get()) is not None:
                self._take(pieces)
        except BaseException as failure:  # for the thread that asks for the digest
            self._failure = failure

    def _take(self, pieces: Iterable[Buffer]) -> None:
        for piece in pieces:
            view = memoryview(piece)
            for start in range(0, len(view), SLICE):
                if self._unwanted:
                    return
                self._hash.update(view[start : start + SLICE])
                self._taken += len(view[start : start + SLICE])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
