"""Files whose digest this process has checked, and that have not changed since by the account of the file system.

As in git's index: a change of a file's bytes changes its ctime, which no program sets. What the disk itself loses is
found by the next check, after an hour at most.
"""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

MOST = 65_536
"""Files that are remembered, 20 MB at most."""
SECONDS = 3600.0


class _Checked(NamedTuple):
    sha256: str
    size: int
    ctime_ns: int
    at: float


class CheckedFiles:
    """The files that were checked last; for several threads."""

    def __init__(self, most: int = MOST, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._files: OrderedDict[tuple[int, int], _Checked] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, status: os.stat_result, sha256: str) -> None:
        """Remember a file with this digest, whose ``status`` is that from before its bytes were read."""
        with self._lock:
            self._files[status.st_dev, status.st_ino] = _Checked(
                sha256, status.st_size, status.st_ctime_ns, self._clock()
            )
            self._files.move_to_end((status.st_dev, status.st_ino))
            if len(self._files) > self._most:
                self._files.popitem(last=False)

    def has(self, status: os.stat_result, sha256: str) -> bool:
        """Return True if the file had this digest less than an hour ago, and has not changed since."""
        known = self._files.get((status.st_dev, status.st_ino))
        if known is None or self._clock() - known.at > self._seconds:
            return False
        return known[:3] == (sha256, status.st_size, status.st_ctime_ns)
