"""Payloads of runs in the store: bytes, then words about them as JSON, then the length of these in 8 bytes."""

import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from gateway.errors import Unavailable
from gateway.studies.blobs import Blobs, Incoming
from gateway.studies.store import Store

Words = dict[str, Any]
KIND = "runs"
"""The kind of blob that payloads are."""
LENGTH = 8


@dataclass
class Payload:
    """A payload that has no place yet."""

    incoming: Incoming
    _blobs: Blobs
    location: str = field(init=False, default="")
    placed: bool = field(init=False, default=False)

    def settle(self, words: Words) -> None:
        """Write the words and make all of it last; slow, and before the index is locked.

        Raises StorageFull, Unavailable.
        """
        text = json.dumps(words, separators=(",", ":")).encode()
        os.lseek(self.incoming.descriptor, 0, os.SEEK_END)  # a reader of the file has moved the position of both
        self.incoming.write(text + len(text).to_bytes(LENGTH))
        self.location = self._blobs.settle(self.incoming, secrets.token_hex(32))

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.incoming.size

    def place(self) -> Words:
        """Put it into its place while the index is locked for writing; return the columns of its record."""
        self._blobs.place(self.incoming, self.location)
        self.placed = True
        return {"location": self.location, "sha256": self.incoming.sha256, "size": self.incoming.size}


@contextmanager
def new_payload(store: Store) -> Iterator[Payload]:
    """A payload to write into. What has no place at the end is gone. Raises StorageFull, Unavailable."""
    blobs = store.blobs[KIND]
    with store.incoming() as incoming:
        payload = Payload(incoming, blobs)
        try:
            yield payload
        except Unavailable:  # the connection may have broken after the commit: what no index knows is swept later
            raise
        except BaseException:
            payload.placed = False  # the transaction is undone
            raise
        finally:
            if payload.location and not payload.placed:
                blobs.abandon(payload.location)


@contextmanager
def settled(store: Store, words: Words, pieces: Iterable[memoryview] = ()) -> Iterator[Payload]:
    """A whole payload, settled. Raises StorageFull, Unavailable."""
    with new_payload(store) as payload:
        for piece in pieces:
            payload.incoming.write(piece)
        payload.settle(words)
        yield payload


def opened(store: Store, record: Any) -> tuple[Words, BinaryIO]:
    """Return the words of a stored payload, and its file at its start. Raises Spoiled, Unavailable."""
    file = store.blobs[KIND].open(record.location, record.sha256, record.size)
    file.seek(-LENGTH, os.SEEK_END)
    length = int.from_bytes(file.read(LENGTH))
    file.seek(-LENGTH - length, os.SEEK_END)
    words: Words = json.loads(file.read(length))
    file.seek(0)
    return words, file


def read(store: Store, record: Any) -> tuple[Words, memoryview]:
    """Return the words and the bytes of a stored payload. Raises Spoiled, Unavailable."""
    with store.blobs[KIND].open(record.location, record.sha256, record.size) as file:
        data = memoryview(file.read())
    length = int.from_bytes(data[-LENGTH:])
    return json.loads(bytes(data[-LENGTH - length : -LENGTH])), data[: -LENGTH - length]
