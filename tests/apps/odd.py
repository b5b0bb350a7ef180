"""A model that does what models should not do to the process that they run in, in the way asked for."""

import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import warnings
from pathlib import Path

CANARY = "DOE^JANE"
FORK = multiprocessing.get_context("fork")
TAKEN = [signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGALRM, signal.SIGPIPE]


class Odd(BaseException):
    """No Exception, and so not caught as one."""


def predict(json_input, files, digest):
    """Do what is asked for, and say how the process is."""
    told = DOES[json_input.get("does", "nothing")](json_input) or {}
    umask = os.umask(0o077)
    os.umask(umask)
    folder = str(Path.cwd())
    spared = gc.get_freeze_count() > 10_000
    return {"study_ml_json": {**told, "pid": os.getpid(), "folder": folder, "umask": umask, "spared": spared}}, []


def take_signals():
    """Take the server's signals, as a script of its own may do when it is imported."""
    for number in TAKEN:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, TAKEN)


def _raise(error):
    raise error


def _recur(json_input):
    return _recur(json_input)


def _alarm(_):
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    while signal.getitimer(signal.ITIMER_REAL)[0]:
        time.sleep(0.001)


def _move(_):
    os.chdir("/proc")
    os.umask(0)


def _wait_forever():
    while True:
        time.sleep(60)


def _fork(json_input):
    child = os.fork()
    if not child:
        _wait_forever()
    return {"child": child}


def _fork_and_return(json_input):
    return {"child": os.fork()}


def _terminate(_):
    child = FORK.Process(target=_wait_forever)
    child.start()
    child.terminate()
    child.join(30)
    ended = child.exitcode
    child.kill()
    return {"status": ended}


def _close_streams(_):
    for descriptor in (0, 1, 2):
        os.close(descriptor)


def _fail_in_thread(_):
    thread = threading.Thread(target=_raise, args=[ValueError(CANARY)])
    thread.start()
    thread.join()


class _Unraisable:
    def __del__(self):
        raise ValueError(CANARY)


DOES = {
    "nothing": lambda _: None,
    "sys.exit": lambda _: sys.exit(3),
    "another BaseException": lambda _: _raise(Odd(CANARY)),
    "KeyboardInterrupt": lambda _: _raise(KeyboardInterrupt()),
    "GeneratorExit": lambda _: _raise(GeneratorExit()),
    "MemoryError": lambda _: bytearray(1 << 46) and None,
    "RecursionError": _recur,
    "os._exit": lambda json_input: os._exit(json_input["status"]),
    "abort": lambda _: os.abort(),
    "close descriptors": lambda _: os.closerange(3, 256),
    "close streams": _close_streams,
    "alarm": _alarm,
    "move": _move,
    "recursion limit": lambda _: sys.setrecursionlimit(90),
    "default timeout": lambda _: socket.setdefaulttimeout(0.001),
    "block signals": lambda _: signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32)) and None,
    "fork": _fork,
    "fork and return": _fork_and_return,
    "terminate a child": _terminate,
    "pool": lambda _: {"found": FORK.Pool(2).map(abs, [-1, -2])},
    "leave a thread": lambda _: threading.Thread(target=_wait_forever).start(),
    "leave a child": lambda _: FORK.Process(target=_wait_forever).start(),
    "warn": lambda _: warnings.warn(CANARY, stacklevel=1),
    "warn to the log": lambda _: logging.captureWarnings(True) or warnings.warn(CANARY, stacklevel=1),
    "fail in a thread": _fail_in_thread,
    "fail in __del__": lambda _: _Unraisable() and None,
    "log what cannot be formatted": lambda _: logging.getLogger("odd").error("%d", CANARY),
    "log": lambda json_input: logging.getLogger("odd").error(json_input["text"]),
}
