"""What a model leaves behind in its process: forked processes, threads, and signals that arrive later."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

ALARMS = (signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF)
"""Signals of timers, which a model may set anywhere (setitimer(2)); by default they end the process."""

LEFT_OVER_SECONDS = 5.0
"""How long threads and child processes that models have left may keep a process that has closed its models."""


class Closable(Protocol):
    """An open file, socket or channel."""

    def close(self) -> None:
        """Close it in this process."""


def do_nothing(*numbers: int) -> None:
    """Have signals do nothing. A handler, since an ignored signal would be ignored by a model's own children too."""
    for number in numbers:
        signal.signal(number, lambda *_: None)


def let_go_in_children(caught: Collection[int], held: Callable[[], Iterable[Closable]]) -> None:
    """Have each process that is forked from this one end by the signals ``caught``, and close what is ``held``.

    A forked process has all that its parent has open: a listening socket keeps its port, and a connection stays open
    for its client. What Python forks is meant, ``multiprocessing`` too; native code runs no such hook.
    """
    thread = threading.local()  # any thread may fork

    def block() -> None:
        """Have a signal that is sent to the new process wait until its action is the default one."""
        thread.mask = signal.pthread_sigmask(signal.SIG_BLOCK, caught)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, thread.mask)

    def let_go() -> None:
        _let_go(caught, held)
        unblock()

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=let_go)


def end_within(seconds: float) -> None:
    """End this process after ``seconds`` if it still runs: Python waits for threads and child processes at its exit."""
    timer = threading.Timer(seconds, os._exit, [0])
    timer.daemon = True
    timer.start()


def _let_go(caught: Collection[int], held: Callable[[], Iterable[Closable]]) -> None:
    signal.set_wakeup_fd(-1)
    for number in caught:
        signal.signal(number, signal.SIG_DFL)
    for each in held():
        with contextlib.suppress(OSError):
            each.close()
