"""The folder in which the workers of a server write their metrics, so that each can sum them all, dead workers
included.

prometheus_client keeps each worker's numbers in files that outlive it. gunicorn's master calls ``prepare`` before the
first worker, ``worker_exited`` after each, ``clean_up`` at the end.
"""

import atexit
import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
MEMORY = Path("/dev/shm")
"""Preferred: the files are written to with every request and are worth nothing after the last."""

ROOM = {"counter": 64 << 10, "histogram": 1 << 20, "gauge_livesum": 64 << 10}
"""Bytes set aside for each file of a process: enough for the histograms of 30 routes."""

FOLDED = ("counter", "histogram", "summary")
"""Kinds of files whose numbers add up when their process is dead."""
DEAD, LOCK = "dead", "lock"
"""Names: of the process that represents all dead ones, and of the file that locks their sums against readers."""
LOCK_SECONDS, LOCK_PAUSE = 1.0, 0.01
"""How long the master waits for a reader, who takes some milliseconds unless it was stopped."""
HEAD_BYTES = 8

PREFIX = "gateway-metrics-"

_folders: dict[int, tuple[Path, int]] = {}
"""The folder that a process made and its open descriptor, by the process's id: a forked worker inherits this, but it is
not the worker's to remove."""


def prepare() -> None:
    """Name an empty folder in the environment: the operator's own, or a private one until ``clean_up``.

    Raises OSError where there can be none.
    """
    if name := os.environ.get(VARIABLE):
        folder = Path(name).absolute()
        os.environ[VARIABLE] = str(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in folder.glob("*.db"):  # of the server before; prometheus_client would count it again
            left_over.unlink()
    else:
        folder = _make(MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir()))
        os.environ[VARIABLE] = str(folder)
        atexit.register(clean_up)  # for a master that ends before it has workers, on a port that is taken
    if "prometheus_client" in sys.modules:  # decided at its import, which a service's own file may have come to first
        from prometheus_client import values

        values.ValueClass = values.get_value_class()


def reserve() -> None:
    """Set the room for this process's files aside, in the worker and before its first number.

    They are mapped into memory, where a disk that fills up later would kill the process (SIGBUS, mmap(2)). Raises
    OSError where there is no room now.
    """
    folder = os.environ.get(VARIABLE)
    if folder:
        for kind, size in ROOM.items():
            with (Path(folder) / f"{kind}_{os.getpid()}.db").open("ab") as file:
                _allocate(file, size)


def _allocate(file: BinaryIO, size: int) -> None:
    if hasattr(os, "posix_fallocate"):  # not on macOS
        os.posix_fallocate(file.fileno(), 0, size)


def worker_exited(pid: int) -> None:
    """Remove a dead process's gauges from the sums, and add its counts to the file of all dead processes.

    Its own files are removed, so a server has no more files than workers, however often these are replaced.
    """
    if folder := os.environ.get(VARIABLE):
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid, folder)
        for path in Path(folder).glob(f"*_{pid}.db"):
            with contextlib.suppress(OSError):  # no room, or readers without a pause: then it stays a file of its own
                _fold(path)


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Keep the files from being removed or added to another. Raises OSError."""
    with (folder / LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def _fold(path: Path) -> None:
    """Add the counts of a dead process to those of the others. Raises OSError where that fails."""
    from prometheus_client.mmap_dict import MmapedDict

    kind = path.name.partition("_")[0]
    if kind not in FOLDED:
        return
    total = path.with_name(f"{kind}_{DEAD}.db")
    with (path.parent / LOCK).open("ab") as lock, total.open("ab") as file:
        _wait_for(lock)
        _allocate(file, _used(total) + _used(path))
        sums = MmapedDict(str(total))
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
            sums.write_value(key, sums.read_value(key)[0] + value, 0.0)
        sums.close()
        path.unlink()


def _wait_for(lock: BinaryIO) -> None:
    """Lock out readers. Raises BlockingIOError after LOCK_SECONDS."""
    for _ in range(int(LOCK_SECONDS / LOCK_PAUSE)):
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(LOCK_PAUSE)
    raise BlockingIOError


def _used(path: Path) -> int:
    """Return the used bytes of a file of prometheus_client.mmap_dict; of a new one, those of its head."""
    with path.open("rb") as file:
        return max(HEAD_BYTES, int.from_bytes(file.read(4), sys.byteorder))


def clean_up() -> None:
    """Remove the folder if this process made it, even if workers still write to it."""
    if entry := _folders.pop(os.getpid(), None):
        folder, descriptor = entry
        os.environ.pop(VARIABLE, None)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _make(parent: Path) -> Path:
    """Make a folder that is locked while a process of this server lives; remove those of killed servers."""
    remove_left_over(parent)
    _folders[os.getpid()] = folder, _ = new_folder(parent)
    return folder


def remove_left_over(parent: Path) -> None:
    """Remove the folders of servers that were killed."""
    for left_over in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or in use
            descriptor = _lock(left_over)
            shutil.rmtree(left_over, ignore_errors=True)
            os.close(descriptor)


def new_folder(parent: Path) -> tuple[Path, int]:
    """Make a folder and lock it; another server that starts now may take it for left over before it is locked."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            descriptor = _lock(folder)
            if folder.exists():
                return folder, descriptor
            os.close(descriptor)


def _lock(folder: Path) -> int:
    """Lock a folder by a descriptor that forked workers inherit. Raises OSError where another server has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
