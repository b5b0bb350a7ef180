"""A small file that is read again when it changes, so that an edit needs no restart."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from gateway.config import MiB
from gateway.errors import Unavailable
from gateway.spool.disk import open_regular

MAX_BYTES = 1 * MiB
"""Of a watched file: 4,000 callers, or 500 public keys; what is larger is not such a file."""

Content = TypeVar("Content")
Stamp = tuple[int, ...]
SETTLED_NS = 2_000_000_000
"""Age of a file's last change from which its stamp is trusted: another change within one tick of the file system's
clock leaves the same stamp. Some tick every two seconds (FAT)."""


class ReloadingFile(Generic[Content]):
    """The parsed content of a file, looked at with one ``stat`` each time it is asked for."""

    def __init__(self, path: Path, parse: Callable[[bytes], Content]) -> None:
        self.path = path
        self._parse = parse
        self._lock = threading.Lock()
        self._latest: _Reading[Content] | None = None

    def get(self) -> Content:
        """Return the content as it is now.

        Raises OSError, also for a pipe or a device, and ValueError for what cannot be parsed or is too large. A file
        that cannot be read is never answered with its former content: that may be what was taken back.
        """
        stamp, latest = _stamp(self.path.stat()), self._latest
        if latest is not None and latest.stamp == stamp:
            return latest.content
        with self._lock:
            self._latest = self._read(self._latest)
            return self._latest.content

    def required(self, what: str) -> Content:
        """Return the content for a request. Raises Unavailable where it cannot be read now; ``what`` is in the file."""
        try:
            return self.get()
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"The gateway cannot read its file of {what} now; its log has the reason.",
                private=f"{self.path}: {error.strerror if isinstance(error, OSError) else error}",
                retry_after=30,
            ) from error

    def _read(self, before: "_Reading[Content] | None") -> "_Reading[Content]":
        with os.fdopen(open_regular(self.path), "rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"{self.path} is larger than {MAX_BYTES} bytes.")
        settled = time.time_ns() - status.st_ctime_ns > SETTLED_NS
        same = before is not None and before.data == data
        content = before.content if before is not None and same else self._parse(data)
        return _Reading(_stamp(status) if settled else (), data, content)


@dataclass(frozen=True)
class _Reading(Generic[Content]):
    """One reading of a file; its ``stamp`` is empty where it tells nothing yet."""

    stamp: Stamp
    data: bytes
    content: Content


def _stamp(status: os.stat_result) -> Stamp:
    """What changes with a file: its time of modification can be set back, that of its status (ctime) cannot."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev
