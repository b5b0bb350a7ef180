"""``python -m benchmarks.sizing``: memory of a gateway for a study of N slices, by mode, as a table."""

import argparse
import contextlib
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from benchmarks import servers
from benchmarks.sized import ROUTE
from gateway.client import Client
from gateway.dicom.samples import phantom

SIZE, WARM_SLICES = 512, 8
MiB = 1 << 20
INTERVAL = 0.01
"""Seconds between two samples of all processes; a study of 64 slices takes half a second."""
RETRIES = 100
"""Of the first study, while the model process starts."""
NEVER, ALWAYS = str(1 << 40), "1"
MODES = {
    "inside the worker, in memory": (NEVER, 0),
    "inside the worker, spooled": (ALWAYS, 0),
    "model process, in memory": (NEVER, 1),
    "model process, spooled": (ALWAYS, 1),
}
"""Names of the modes, with the spool threshold and the number of model processes."""


def main() -> None:
    """Measure each mode with each study, and print the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.sizing", description=__doc__)
    parser.add_argument("--slices", nargs="+", type=int, default=[64, 128, 256], metavar="N", help="slices of a study")
    slices = parser.parse_args().slices
    columns = ["mode", "idle", *(f"{count} slices" for count in slices), "for each slice more"]
    sys.stdout.write(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|\n")
    with tempfile.TemporaryDirectory(prefix="sizing-") as name:
        folders = [_study(Path(name), count) for count in (WARM_SLICES, *slices)]
        for mode, (threshold, processes) in MODES.items():
            idle, *peaks = _measure(threshold, processes, folders)
            more = (peaks[-1] - peaks[0]) / max(1, slices[-1] - slices[0])
            cells = [mode, *(f"{value / MiB:.0f} MiB" for value in (idle, *peaks)), f"{more / MiB:.1f} MiB"]
            sys.stdout.write(f"| {' | '.join(cells)} |\n")
            sys.stdout.flush()


def _study(folder: Path, slices: int) -> Path:
    """A CT of 512 x 512 pixels of 16 bits, 0.5 MiB a slice."""
    path = folder / str(slices)
    phantom.write(path, slices=slices, size=SIZE)
    return path


def _measure(threshold: str, processes: int, folders: list[Path]) -> list[int]:
    """Bytes of all processes of one server: idle after the first study, then at the peak of each of the others."""
    serving = servers.ours(
        app="benchmarks.sized:app", GATEWAY_SPOOL_THRESHOLD=threshold, GATEWAY_MODEL_PROCESSES=str(processes)
    )
    with serving as server:
        client = Client(f"http://127.0.0.1:{server.port}")
        client.infer(folders[0], ROUTE, retries=RETRIES)
        found = [_proportional(server.pid)]
        for folder in folders[1:]:
            with _sampled(server.pid) as samples:
                client.infer(folder, ROUTE)
            found.append(max(samples))
    return found


@contextlib.contextmanager
def _sampled(pid: int) -> Iterator[list[int]]:
    samples, done = [0], threading.Event()

    def sample() -> None:
        while not done.wait(INTERVAL):
            samples.append(_proportional(pid))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


def _proportional(pid: int) -> int:
    """Bytes of a process and its descendants; pages that they share count once (proc(5), Pss)."""
    total = 0
    with contextlib.suppress(OSError):  # it has ended
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total = int(next(line for line in rollup if line.startswith("Pss:")).split()[1]) << 10
        children = Path(f"/proc/{pid}/task").glob("*/children")
        total += sum(_proportional(int(child)) for file in children for child in file.read_text().split())
    return total


if __name__ == "__main__":
    main()
