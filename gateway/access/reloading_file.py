"""A small file that is read anew when it changes, so that an edit needs no restart."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from gateway.config import MiB

MAX_BYTES = 1 * MiB
"""Of a watched file: 4,000 callers, or 500 public keys; what is larger is not such a file."""

Content = TypeVar("Content")
Stamp = tuple[int, int, int]


class ReloadingFile(Generic[Content]):
    """The parsed content of a file, looked at with one ``stat`` each time it is asked for."""

    def __init__(self, path: Path, parse: Callable[[bytes], Content]) -> None:
        self.path = path
        self._parse = parse
        self._lock = threading.Lock()
        self._held: tuple[Stamp, Content] | None = None

    def get(self) -> Content:
        """The content as it is now. Raises OSError, and ValueError for what cannot be parsed or is too large.

        A file that cannot be read is never answered with what it held before: that may be what was taken back.
        """
        stamp, held = _stamp(self.path.stat()), self._held
        if held is not None and held[0] == stamp:
            return held[1]
        with self._lock:
            self._held = self._read()
            return self._held[1]

    def _read(self) -> tuple[Stamp, Content]:
        with self.path.open("rb") as file:
            stamp = _stamp(os.fstat(file.fileno()))
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"{self.path} is larger than {MAX_BYTES} bytes.")
        return stamp, self._parse(data)


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino
