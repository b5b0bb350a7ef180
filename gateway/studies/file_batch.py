"""Files of one request: received, checked one by one, and placed in one transaction or not at all."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from sqlalchemy import select

from gateway.errors import BrokenJSON, GatewayError
from gateway.studies.blobs import Blobs, Incoming
from gateway.studies.store import Store
from gateway.studies.tables import LOCATIONS


class AnnouncedFile(Protocol):
    """The announcement of a file, sent before its bytes."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def sha256(self) -> str:
        """The digest in hexadecimal."""


SETTLERS = 16
"""Files that are settled at once: a disk commits the waits of many together, and a bucket takes many connections."""

Check = Callable[[BinaryIO, int], None]
"""Checks a whole file, given its number in the batch; raises the refusal."""


class FileBatch:
    """The files of one chunk. Use as a context manager: what was not placed at its end is gone."""

    def __init__(self, store: Store, kind: str, announced: Sequence[AnnouncedFile], check: Check | None = None) -> None:
        """``kind`` is one of ``store.KINDS``."""
        self._store, self._kind, self._announced, self._check = store, kind, announced, check
        self._files: list[Incoming] = []
        self._settled: dict[str, tuple[Incoming, str]] = {}
        self._placed: set[str] = set()
        self._late: list[Incoming] = []

    def begin(self) -> None:
        """The next file begins. Raises BrokenJSON where none was announced, StorageFull."""
        if len(self._files) == len(self._announced):
            raise BrokenJSON(f"The JSON announces {len(self._announced)} files, and more follow.")
        self._files.append(self._store.incoming())

    def write(self, data: bytes | memoryview) -> None:
        """More of the current file. Raises StorageFull, and DigestMismatch as soon as it is too long."""
        file, number = self._files[-1], len(self._files) - 1
        if file.size + len(data) > self._announced[number].size:
            file.check(-1, "", number)
        file.write(data)

    def end(self) -> None:
        """The current file is complete. Raises DigestMismatch, and what the check raises."""
        file, number = self._files[-1], len(self._files) - 1
        file.check(self._announced[number].size, self._announced[number].sha256, number)
        if self._check is not None:
            with file.reader() as opened:
                self._check(opened, number)

    def settle(self) -> None:
        """Make all of them last; slow. Raises BrokenJSON for too few files, StorageFull, Unavailable."""
        if len(self._files) < len(self._announced):
            raise BrokenJSON(f"The JSON announces {len(self._announced)} files, and {len(self._files)} follow.")
        by_digest = {announced.sha256: file for announced, file in zip(self._announced, self._files, strict=True)}
        with ThreadPoolExecutor(SETTLERS) as threads:
            settle = threads.map if self._blobs.waits else map
            list(settle(self._settle, by_digest.items()))

    def _settle(self, file_of: tuple[str, Incoming]) -> None:
        sha256, file = file_of
        self._settled[sha256] = file, self._blobs.settle(file, sha256)

    def place(self, sha256: str) -> str:
        """Put one of them where it belongs, while the index is locked for writing; its location. Raises StorageFull."""
        file, location = self._settled[sha256]
        self._placed.add(location)
        self._blobs.place(file, location, last=False)
        return location

    @contextmanager
    def lasting(self) -> Iterator[None]:
        """Make the places of all last, and what is late, beside the block.

        Raises StorageFull, Unavailable at its end.
        """
        waiting = [self._store.disk.submit(work) for work in self._blobs.finishing(self._placed, self._late)]
        try:
            yield
        finally:
            wait(waiting)
        for one in waiting:
            one.result()

    @property
    def _blobs(self) -> Blobs:
        return self._store.blobs[self._kind]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for file in self._files:
            file.discard()
        for location in {location for _, location in self._settled.values()} - self._placed:
            self._blobs.abandon(location)
        if error is not None and self._placed:
            with suppress(GatewayError):  # where the index cannot be written now, the next sweep finds them
                self._take_back()

    def _take_back(self) -> None:
        """Remove what was placed in a transaction that then failed, unless somebody has placed it since."""
        column = LOCATIONS[self._kind]
        with self._store.index.writing() as connection:
            known = set(connection.execute(select(column).where(column.in_(self._placed))).scalars())
            for location in self._placed - known:
                self._blobs.remove(location)
