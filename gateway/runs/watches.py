"""Waiters for changes of runs, woken without a thread of their own."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select

from gateway.runs.ledger import Ledger
from gateway.studies import instance_rows
from gateway.studies.tables import runs

LOOK_SECONDS = 5.0
"""Seconds between two looks at the index for waiters, whose signals may be lost."""


@dataclass(eq=False)
class Watch:
    """A waiter for changes of one run. ``sequence`` is that of the last change which it has been woken for."""

    key: str
    sequence: int
    wake: Callable[[], None]
    _watches: "Watches"

    def close(self) -> None:
        """Wait no longer; once is enough."""
        self._watches.remove(self)


class Watches:
    """The waiters of one process."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._by_key: dict[str, dict[Watch, None]] = {}

    def add(self, key: str, sequence: int, wake: Callable[[], None]) -> Watch:
        """Add a waiter for changes after ``sequence``; one that has happened already wakes it now."""
        watch = Watch(key, sequence, wake, self)
        with self._lock:
            self._by_key.setdefault(key, {})[watch] = None
        self._look([key])
        return watch

    def remove(self, watch: Watch) -> None:
        """Remove a waiter."""
        with self._lock:
            watches = self._by_key.get(watch.key, {})
            watches.pop(watch, None)
            if not watches:
                self._by_key.pop(watch.key, None)

    def signalled(self, key: str, word: str) -> None:
        """Wake the waiters for a run."""
        for watch in list(self._by_key.get(key, ())):
            watch.wake()

    def look(self) -> None:
        """Wake the waiters for runs that have changed, or are gone, without a signal."""
        self._look(list(self._by_key))

    def _look(self, keys: list[str]) -> None:
        sequences: dict[str, int] = {}
        for some in instance_rows.pieces(keys):
            with self._ledger.reading() as connection:
                rows = connection.execute(select(runs.c.key, runs.c.sequence).where(runs.c.key.in_(some)))
                sequences.update({key: int(sequence) for key, sequence in rows})
        for key in keys:
            sequence = sequences.get(key, -1)
            for watch in list(self._by_key.get(key, ())):
                if watch.sequence != sequence:
                    watch.sequence = sequence
                    watch.wake()
