"""Several things at once, given up at once when one of them fails or the user has had enough."""

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

LAST_WORDS = 1.0
"""Seconds that work in progress is waited for after a failure; what hangs in a dead connection is left behind."""


def in_parallel(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """What ``work`` returns for each item, in the order in which it is done.

    Raises the first error; nothing is begun after that. The threads are daemons: an interrupt need not wait for a
    server that says nothing.
    """
    todo, stopped, done = iter(items), threading.Event(), SimpleQueue[_Outcome[R] | None]()
    turn = threading.Lock()

    def run() -> None:
        while not stopped.is_set():
            with turn:
                item = next(todo, _END)
            if isinstance(item, _End):
                break
            try:
                done.put((work(item), None))
            except BaseException as error:
                stopped.set()
                done.put((None, error))
        done.put(None)

    running = [threading.Thread(target=run, name="gateway-client", daemon=True) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield from _outcomes(done, len(running))
    finally:
        stopped.set()
        for thread in running:
            thread.join(LAST_WORDS / threads)


class _End:
    """Stands behind the last item."""


_END = _End()
_Outcome = tuple[R | None, BaseException | None]


def _outcomes(done: "SimpleQueue[_Outcome[R] | None]", left: int) -> Iterator[R]:
    while left:
        outcome = done.get()
        if outcome is None:
            left -= 1
            continue
        result, error = outcome
        if error is not None:
            raise error
        yield result  # type: ignore[misc]


class Tally:
    """Bytes sent by several threads, as one progress that only grows."""

    def __init__(self, total: int, report: Callable[[int, int], None] | None) -> None:
        self.total = total
        self._report = report
        self._lock = threading.Lock()
        self._sent = self._told = 0

    def add(self, count: int) -> None:
        """Count bytes; negative ones are to be sent again. Told while they are more than ever before."""
        with self._lock:
            self._sent += count
            if self._report is not None and self._sent > self._told:
                self._told = self._sent
                self._report(min(self._told, self.total), self.total)
