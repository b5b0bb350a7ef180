"""Concurrent work, cancelled as soon as one item fails or the user interrupts."""

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

LAST_WORDS = 1.0
"""Seconds to wait for work in progress after a failure; threads on a dead connection are abandoned."""


def in_parallel(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Yield the result of ``work`` for each item, as each completes.

    Items are taken in the caller's thread and worked on while it waits for the next one. Raises the first error;
    no item is begun after that. The threads are daemons: an interrupt need not wait for a silent server.
    """
    todo, done, stopped = SimpleQueue[T | _End](), SimpleQueue[_Outcome[R]](), threading.Event()

    def run() -> None:
        while not isinstance(item := todo.get(), _End) and not stopped.is_set():
            try:
                done.put((work(item), None))
            except BaseException as error:
                stopped.set()
                done.put((None, error))

    running = [threading.Thread(target=run, name="gateway-client", daemon=True) for _ in range(threads)]
    for thread in running:
        thread.start()
    left = 0
    try:
        for item in items:
            todo.put(item)
            left += 1
            while not done.empty():
                yield _result(done.get())
                left -= 1
        while left:
            yield _result(done.get())
            left -= 1
    finally:
        stopped.set()
        for _ in running:
            todo.put(_End())
        for thread in running:
            thread.join(LAST_WORDS / threads)


class _End:
    """The mark after the last item."""


_Outcome = tuple[R | None, BaseException | None]


def _result(outcome: _Outcome[R]) -> R:
    result, error = outcome
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


class Tally:
    """Bytes sent by several threads, as one progress that only grows; ``total`` may turn out to be less."""

    def __init__(self, total: int, report: Callable[[int, int], None] | None) -> None:
        self.total = total
        self._report = report
        self._lock = threading.Lock()
        self._sent = self._told = 0

    def add(self, count: int) -> None:
        """Count bytes; negative ones will be sent again. Reported while the sum exceeds its maximum so far."""
        with self._lock:
            self._sent += count
            if self._sent > self._told:
                self._told = self._sent
                self._tell()

    def expect(self, total: int) -> None:
        """Set the total of bytes."""
        with self._lock:
            changed, self.total = total != self.total, total
            if changed and self._told:
                self._tell()

    def _tell(self) -> None:
        if self._report is not None:
            self._report(min(self._told, self.total), self.total)
