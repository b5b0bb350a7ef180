"""Memory and files of a process as the kernel counts them: resident memory by kind, its high-water mark, open files."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

KINDS = ("VmRSS", "RssAnon", "RssFile", "RssShmem")
INTERVAL = 0.003
"""Seconds between two samples; a study of 128 MiB is received in some hundred milliseconds."""


def resident(pid: int) -> dict[str, int]:
    """Bytes resident now, in all and by kind (proc(5), status)."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {words[0][:-1]: int(words[1]) << 10 for words in lines if words[0][:-1] in (*KINDS, "VmHWM")}


def reset_peak(pid: int) -> None:
    """Set the high-water mark to what is resident now (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak(pid: int) -> int:
    """Bytes resident at the high-water mark since it was reset."""
    return resident(pid)["VmHWM"]


def exact(pid: int) -> int:
    """Bytes resident now, counted page by page: the counters in ``status`` lag behind."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Rss:")).split()[1]) << 10


@contextlib.contextmanager
def sampled(pid: int) -> Iterator[dict[str, int]]:
    """Sample while the block lasts; the dict has the largest value of each kind, in bytes."""
    largest = dict.fromkeys(KINDS, 0)
    done = threading.Event()

    def sample() -> None:
        while not done.wait(INTERVAL):
            now = resident(pid)
            largest.update({kind: max(largest[kind], now[kind]) for kind in KINDS})

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield largest
    finally:
        done.set()
        thread.join()


def open_files(pid: int) -> list[str]:
    """Return the targets of a process's descriptors, without the numbers that differ between sockets."""
    folder = Path(f"/proc/{pid}/fd")
    found = []
    for entry in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(entry.readlink()).split("[")[0])
    return sorted(found)
