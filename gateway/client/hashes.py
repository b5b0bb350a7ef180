"""A cache of file digests on disk, keyed by path, size and time of change."""

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

RACY_NS = 2_000_000_000
"""A file that changed less than this before it was hashed is not remembered: FAT counts in 2 s, so a second change
might leave the same time (what git calls a racy entry)."""

BUSY_SECONDS = 10.0
"""Seconds to wait for a writing process; each of its transactions takes milliseconds."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL, sha256 TEXT NOT NULL, study TEXT NOT NULL, series TEXT NOT NULL, sop TEXT NOT NULL
) WITHOUT ROWID
"""
_VERSION = 2
T = TypeVar("T")


class Stat(NamedTuple):
    """Facts that show a change of a file: its size in bytes, and the nanoseconds of its last change.

    The time of its last change of any kind and its inode reveal another file that was put in its place with the same
    time, by ``mv`` or by a link.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return the facts of a file from the system."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & (1 << 63) - 1)


@dataclass(frozen=True)
class Known:
    """The digest of a file, and the UIDs of a DICOM instance; ``fault`` is the reason why it is broken."""

    stat: Stat
    sha256: str
    study: str = ""
    series: str = ""
    sop: str = ""
    fault: str = ""


class HashCache:
    """An index in ``folder``, safe under threads and processes. One that cannot be opened or written caches nothing.

    ``folder`` defaults to ``gateway`` in the cache folder of the user (``$XDG_CACHE_HOME`` or ``~/.cache`` on Linux).
    Paths are stored as their sha256, since the name of a file often contains the patient's.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = (folder or cache_folder()) / f"hashes-{_VERSION}.sqlite"
        self._lock = threading.Lock()

    def look_up(self, stats: Mapping[str, Stat]) -> dict[str, Known]:
        """Return the cached entries of files by absolute path, if unchanged since they were hashed."""

        def read(database: sqlite3.Connection) -> dict[str, Known]:
            query = "SELECT size, mtime_ns, ctime_ns, inode, sha256, study, series, sop FROM files WHERE path = ?"
            rows = ((path, stat, database.execute(query, (_key(path),)).fetchone()) for path, stat in stats.items())
            return {path: Known(stat, *row[4:]) for path, stat, row in rows if row and row[:4] == stat}

        return self._run(read) or {}

    def remember(self, known: Mapping[str, Known], *, now_ns: int | None = None) -> None:
        """Store the entries of files, except of recently changed and of broken ones."""
        latest = (now_ns or time.time_ns()) - RACY_NS
        rows = [
            (_key(path), *one.stat, one.sha256, one.study, one.series, one.sop)
            for path, one in known.items()
            if one.stat.mtime_ns < latest and not one.fault
        ]
        if rows:
            self._run(
                lambda database: database.executemany("REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            )

    def forget(self, paths: Iterable[str]) -> None:
        """Delete the entries of files whose bytes have changed."""
        keys = [(_key(path),) for path in paths]
        self._run(lambda database: database.executemany("DELETE FROM files WHERE path = ?", keys))

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return the result of ``work`` in its own transaction; None where the index is broken or the disk is full."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._lock, closing(sqlite3.connect(self._file, timeout=BUSY_SECONDS)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = NORMAL")
                with database:
                    database.execute(_SCHEMA)
                    return work(database)
        except (OSError, sqlite3.Error):  # all that is lost is the time to hash again
            return None


def _key(path: str) -> bytes:
    return hashlib.sha256(os.fsencode(path)).digest()


def cache_folder() -> Path:
    """Return the folder for caches of this user and program, by the convention of the system."""
    from platformdirs import user_cache_path

    return user_cache_path("gateway", appauthor=False)
