"""C-STORE by dcmtk's ``storescu``: one association beside dcmtk's own server and pynetdicom's, and ten at once."""

import hashlib
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import count
from pathlib import Path

from pydicom.uid import UID

from benchmarks import pairs
from benchmarks.results import Line, Plan, at_most, beside, skipped
from benchmarks.servers import ROOT
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.samples import phantom

SIZE = 512
"""Rows and columns of a slice: 512 KiB of pixels."""
CLIENTS = 10
LISTENING = re.compile(r"listening for DICOM associations at \S+, port (\d+)")
NO_DELAY = {"TCP_NODELAY": "1"}
"""dcmtk's variable. Without it each message waits 40 ms for an acknowledgement, and any server looks fast."""
TITLES = '[ae.STORESCU]\naddress = ["127.0.0.1"]\ncaller = "bench"\nmay = ["store"]\n'
PATIENCE = 600


def associations(plan: Plan) -> list[Line]:
    """Measure all lines on one folder of slices; each round has a new store."""
    work = f"C-STORE of {plan.instances} instances of 512 KiB"
    if shutil.which("storescu") is None:
        return [skipped(work, "dcmtk is not installed")]
    with tempfile.TemporaryDirectory(prefix="bench-dimse-") as name:
        folder, number = Path(name), count()
        study = _write(folder / "study", plan.instances, "1")
        works: dict[str, pairs.Work] = {
            "ours, fsync": partial(_ours, study, folder, number, {"GATEWAY_STORE_FSYNC": "1"}),
            "ours": partial(_ours, study, folder, number, {}),
            "dcmtk, sha256, fsync": partial(_dcmtk, study, folder, number, lasting=True),
            "dcmtk": partial(_dcmtk, study, folder, number, lasting=False),
            "pynetdicom, sha256, fsync": partial(_example, study, folder, number),
        }
        samples = pairs.alternate(max(2, plan.pairs // 2), works)
        return [
            at_most(2.5, work, samples, "ours, fsync", "dcmtk, sha256, fsync"),
            at_most(1.0, work, samples, "ours, fsync", "pynetdicom, sha256, fsync"),
            at_most(4.0, work, samples, "ours", "dcmtk"),
            *_many(plan, folder, number),
        ]


def _many(plan: Plan, folder: Path, number: "count[int]") -> Iterator[Line]:
    """Ten associations at once, each with instances of its own: none is refused, and none is lost."""
    each = max(plan.instances // CLIENTS, 1)
    studies = [_write(folder / f"many-{client}", each, f"2{client:02d}") for client in range(CLIENTS)]
    place = folder / f"run-{next(number)}"
    with gateway_of_associations(place, {}) as port:
        began = time.perf_counter()
        statuses = _send(port, studies)
        seconds = time.perf_counter() - began
    with closing(sqlite3.connect(place / "store" / "index.sqlite")) as index:
        (stored,) = index.execute("SELECT count(*) FROM holdings").fetchone()
    refused = sum(status != 0 for status in statuses)
    work = f"{CLIENTS} associations at once, {each} instances each"
    yield Line(work=f"{work}: refused or lost", ours=refused + each * CLIENTS - stored, must_reach="0", met=not refused)
    samples = {"ours": [seconds], "dcmtk": [_forked(studies, folder, number)]}
    yield beside(work, samples, "ours", "dcmtk")


def _write(folder: Path, number: int, group: str) -> Path:
    """Write slices of one series, each with its own UID and pixels; each ``group`` of digits has other instances."""
    folder.mkdir()
    [dataset] = phantom.datasets(slices=1, size=SIZE)
    stem = dataset.SOPInstanceUID[:40].rstrip(".")
    uids = [UID(f"{stem}.1{group}{each:06d}") for each in range(number)]
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uids[0]
    model = convert_dataset_to_bytes(dataset)
    for each, uid in enumerate(uids):
        data = model.replace(uids[0].encode(), uid.encode())[:-4] + each.to_bytes(4, "little")
        (folder / f"{each:05d}.dcm").write_bytes(data)
    return folder


def _ours(study: Path, folder: Path, number: "count[int]", environ: Mapping[str, str]) -> float:
    with gateway_of_associations(folder / f"run-{next(number)}", environ) as port:
        return _seconds(port, [study])


def _dcmtk(study: Path, folder: Path, number: "count[int]", *, lasting: bool) -> float:
    place = folder / f"run-{next(number)}"
    with _server(["storescp", "-od", str(place)], place) as port:
        seconds = _seconds(port, [study])
    began = time.perf_counter()
    for path in place.iterdir() if lasting else ():
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
    return seconds + time.perf_counter() - began


def _forked(studies: Sequence[Path], folder: Path, number: "count[int]") -> float:
    place = folder / f"run-{next(number)}"
    with _server(["storescp", "--fork", "-od", str(place)], place) as port:
        return _seconds(port, studies)


def _example(study: Path, folder: Path, number: "count[int]") -> float:
    place, port = folder / f"run-{next(number)}", _free_port()
    command = [sys.executable, "-m", "benchmarks.storage_example", str(port), str(place)]
    with _server(command, place, port):
        return _seconds(port, [study])


def _seconds(port: int, studies: Sequence[Path]) -> float:
    began = time.perf_counter()
    if any(_send(port, studies)):
        raise ValueError("storescu did not store all instances")
    return time.perf_counter() - began


def _send(port: int, studies: Sequence[Path]) -> list[int]:
    """Send folders at once, each on an association of its own; the exit status of each sender."""
    command = ["storescu", "+sd", "-aec", "GATEWAY", "127.0.0.1", str(port)]
    senders = [
        subprocess.Popen([*command, str(study)], env=os.environ | NO_DELAY, stdout=subprocess.DEVNULL)
        for study in studies
    ]
    return [sender.wait(PATIENCE) for sender in senders]


@contextmanager
def gateway_of_associations(place: Path, environ: Mapping[str, str]) -> Iterator[int]:
    """Yield the port of the DICOM network, with a store in ``place``, which is made."""
    place.mkdir()
    titles, log = place / "titles.toml", place / "log"
    titles.write_text(TITLES, encoding="utf-8")
    variables = {"GATEWAY_STORE_FOLDER": str(place / "store"), "GATEWAY_DIMSE_TITLES_FILE": str(titles), **environ}
    command = [sys.executable, "-m", "gateway", "dimse", "--port", "0"]
    with log.open("wb") as output, _stopped(command, variables, output.fileno()) as process:
        while not (found := LISTENING.search(log.read_text(encoding="utf-8"))):
            if process.poll() is not None:
                raise ValueError(log.read_text(encoding="utf-8"))
            time.sleep(0.05)
        yield int(found[1])


@contextmanager
def _server(command: Sequence[str], place: Path, port: int = 0) -> Iterator[int]:
    """A server of another program, with a folder that it writes to; dcmtk's has its port behind its options."""
    place.mkdir()
    line = [*command] if port else [*command, str(port := _free_port())]
    with _stopped(line, {}, subprocess.DEVNULL):
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port


@contextmanager
def _stopped(command: Sequence[str], environ: Mapping[str, str], output: int) -> "Iterator[subprocess.Popen[bytes]]":
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **NO_DELAY, **environ},
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
