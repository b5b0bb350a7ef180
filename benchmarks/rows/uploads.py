"""Stored studies: inference by reference, a repeated upload, a first upload, and uploads by many clients at once."""

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydicom.uid import UID

from benchmarks import link, pairs, servers
from benchmarks.results import Line, Plan, at_most, skipped
from benchmarks.studies import MiB
from gateway import Client
from gateway.client import Refused
from gateway.client.hashes import HashCache
from gateway.client.scanning import Scan
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.samples import phantom

MEGABITS = 100.0
SIZE = 512
"""Rows and columns of a slice: 512 KiB of pixels."""
CLIENTS = 10
OLD = 3600.0
"""Seconds since the files last changed: a cache of digests distrusts those of the last two."""


def uploads(plan: Plan) -> list[Line]:
    """Measure all lines on one folder of slices; each gateway has a store of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-uploads-") as name:
        folder = Path(name)
        files = write(folder / "slices", max(plan.cached, plan.first_upload, plan.slices))
        return [
            *_second_model(plan, files[: plan.slices], folder),
            *_again(plan, files[: plan.cached], folder),
            _first(plan, files[: plan.first_upload], folder),
            _many(files[: plan.first_upload], folder),
        ]


def _second_model(plan: Plan, files: list[Path], folder: Path) -> Iterator[Line]:
    """Run a second model over a slow link; the model itself takes no time."""
    work = f"second model on a stored study of {len(files)} slices over {MEGABITS:.0f} Mbit/s"
    with ExitStack() as stack:
        port = stack.enter_context(_served(folder / "second"))
        slow = stack.enter_context(link.before(port, MEGABITS)).port
        client = stack.enter_context(Client(f"http://127.0.0.1:{slow}", timeout=300, cache=folder / "cache"))
        study = client.upload(files)
        try:
            client.infer(study, "/tiny")
        except Refused as error:
            yield skipped(work, f"this gateway has no study store: {error.detail}")
            return
        works = {
            "ours": pairs.timed(lambda: client.infer(client.upload(files), "/tiny")),
            "sent again": pairs.timed(lambda: client.infer(files, "/tiny")),
        }
        samples = pairs.alternate(max(2, plan.pairs // 2), works)
    yield at_most(1 / 12, work, samples, "ours", "sent again", note="ours includes an upload with nothing to send")


def _again(plan: Plan, files: list[Path], folder: Path) -> Iterator[Line]:
    """Repeat an upload that has nothing to send and nothing to hash."""
    with _served(folder / "again") as port, Client(f"http://127.0.0.1:{port}", cache=folder / "cache") as client:
        part = files[: plan.slices]
        client.upload(part)
        sent = client.upload(part).bytes_sent
    yield Line(work=f"{len(part)} slices uploaded again: bytes of files sent", ours=sent, must_reach="0", met=sent == 0)
    number = iter(range(1_000_000))
    kept = HashCache(folder / "kept")
    list(Scan(files, kept))
    works = {
        "ours": pairs.timed(lambda: list(Scan(files, kept))),
        "hashing": pairs.timed(lambda: list(Scan(files, HashCache(folder / f"fresh-{next(number)}")))),
    }
    samples = pairs.alternate(plan.pairs, works)
    yield at_most(0.1, f"{len(files)} instances with cached hashes", samples, "ours", "hashing")


def _first(plan: Plan, files: list[Path], folder: Path) -> Line:
    """Measure a first upload (hash, query, send in chunks, check, store) against the same bytes in one request.

    Each round has new instances, since a file system allocates slowly just after a thousand files were removed.
    """
    size = sum(path.stat().st_size for path in files)
    number = iter(range(1, 1_000_000))
    with _served(folder / "first") as port, Client(f"http://127.0.0.1:{port}", timeout=300) as plain:

        def upload() -> float:
            others = folder / f"others-{next(number)}"
            new = write(others, len(files), next(number))
            settle(folder, size)
            with Client(f"http://127.0.0.1:{port}", timeout=300, cache=others / "cache") as client:
                started = time.perf_counter()
                done = client.upload(new)
                taken = time.perf_counter() - started
            if done.sent != len(files):
                raise ValueError("some were here already")
            return taken

        def post() -> float:
            settle(folder, size)
            return pairs.timed(lambda: plain.ask({"depth": 0}, files, "/tiny"))()

        samples = pairs.alternate(plan.pairs, {"ours": upload, "one POST": post})
    return at_most(1.3, f"first upload of {len(files)} instances, {size / MiB:.0f} MiB", samples, "ours", "one POST")


def settle(folder: Path, size: int) -> None:
    """Prepare the next measurement: memory that the machine has used before, and a disk with no pending writes.

    In a virtual machine, memory that the host has not yet provided costs more than hashing what is written there. The
    single POST reuses the memory of the last one; an upload stores its bytes and never would.
    """
    path = folder / "settled"
    with path.open("wb", buffering=0) as file:
        for _ in range(0, size, MiB):
            file.write(bytes(MiB))
    path.unlink()
    os.sync()


def _many(files: list[Path], folder: Path) -> Line:
    """Upload studies that overlap by half from several clients at once; count the failures."""
    failures: list[Exception] = []
    step = len(files) // (CLIENTS + 1)
    parts = [files[step * index : step * (index + 2)] for index in range(CLIENTS)]
    with _served(folder / "many", workers=2) as port:

        def upload(part: list[Path]) -> None:
            try:
                with Client(f"http://127.0.0.1:{port}", timeout=300, cache=folder / "kept") as client:
                    client.upload(part)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=upload, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with Client(f"http://127.0.0.1:{port}") as client:
            stored = sum(one["instances"] for one in client.studies())
    wanted = len({path for part in parts for path in part})
    wrong = len(failures) + abs(stored - wanted)
    note = f"{stored} of {wanted} instances stored, {len(failures)} clients failed"
    work = f"{CLIENTS} clients with overlapping manifests: failures, and instances not stored once"
    return Line(work=work, ours=wrong, must_reach="0", met=wrong == 0, note=note)


@contextmanager
def _served(store: Path, workers: int = 1) -> Iterator[int]:
    """Yield the port of a gateway with this store."""
    with servers.ours(workers=workers, GATEWAY_STORE_FOLDER=str(store)) as server:
        yield server.port


def write(folder: Path, count: int, group: int = 0) -> list[Path]:
    """Write slices of one series, each with its own UID and pixels.

    Each ``group`` has other instances.
    """
    folder.mkdir()
    [dataset] = phantom.datasets(slices=1, size=SIZE)
    stem = dataset.SOPInstanceUID[:40].rstrip(".")
    uids = [UID(f"{stem}.1{group:02d}{number:06d}") for number in range(count)]
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uids[0]
    model = convert_dataset_to_bytes(dataset)
    then, paths = time.time() - OLD, []
    for number, uid in enumerate(uids):
        path = folder / f"{number:05d}.dcm"
        path.write_bytes(model.replace(uids[0].encode(), uid.encode())[:-4] + number.to_bytes(4, "little"))
        os.utime(path, (then, then))
        paths.append(path)
    return paths
