"""Memory of a server and its child processes, each shared page counted once (proc(5), smaps_rollup)."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

Sample = TypeVar("Sample")
KINDS = ("Rss", "Pss", "Pss_Anon", "Pss_File", "Pss_Shmem")
BLOCK = 512
"""Bytes of a block of stat(2), whatever the file system's own."""


def below(pid: int) -> list[int]:
    """Return the process and its live descendants."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, children.read_text().split())
    return found


def running(pid: int, module: str) -> list[int]:
    """Return the processes below that run ``python -m module``."""
    return [one for one in below(pid) if module in _words(one)]


def ended(pid: int) -> bool:
    """Return True if a process has ended, reaped or not."""
    return _words(pid) in ([], [""])


def _words(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []


def total(pid: int, kind: str = "Pss") -> int:
    """Return the bytes of one kind over the whole tree."""
    return sum(_rollup(one).get(kind, 0) for one in below(pid))


def held(pid: int) -> int:
    """Return the bytes that the tree uses: PSS, but with files in memory counted whole, mapped or not."""
    own = sum(words.get("Pss_Anon", 0) + words.get("Pss_File", 0) for words in map(_rollup, below(pid)))
    return own + sum(_memory_files(below(pid)).values())


@contextlib.contextmanager
def sampled(read: Callable[[], Sample], seconds: float) -> Iterator[list[Sample]]:
    """Sample what ``read`` returns every so many seconds of the block."""
    found: list[Sample] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(seconds):
            found.append(read())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def _rollup(pid: int) -> dict[str, int]:
    with contextlib.suppress(OSError):
        lines = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
        return {words[0][:-1]: int(words[1]) << 10 for words in lines if words[0][:-1] in KINDS}
    return {}


def _memory_files(pids: list[int]) -> dict[int, int]:
    """Return the bytes of each anonymous memory file (memfd_create(2)) by its inode."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(entry.readlink()).startswith("/memfd:"):
                        status = entry.stat()
                        found[status.st_ino] = status.st_blocks * BLOCK
    return found
