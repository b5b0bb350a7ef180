"""A study from a modality to its segmentation in the PACS: ``storescu``, both processes of the gateway, Orthanc."""

import io
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from statistics import median

from pydicom.uid import UID

from benchmarks import orthanc, servers
from benchmarks.results import Line, Plan, skipped
from benchmarks.rows.associations import NO_DELAY, gateway_of_associations
from gateway.dicom.samples import phantom

SIZE = 512
STUDIES = ((28, 1.0), (300, 3.0))
"""Slices, and the seconds that the median may take."""
STEM = "1.2.826.0.1.3680043.8.498.1{:08d}"
"""The beginning of each UID of a study, by its number."""
RULES = """
[rules.box]
callers = ["bench"]
match = {Modality = "CT"}
model = "/box"
destinations = ["pacs"]
association_end = true
"""
PATIENCE = 60.0
LOOK = 0.01


def round_trips(plan: Plan) -> list[Line]:
    """Measure studies one after the other, each with UIDs of its own; the first warms up."""
    work = "study by C-STORE to its SEG in Orthanc, {} slices"
    missing = "" if orthanc.program() else f"Orthanc {orthanc.MISSING}"
    missing = missing or ("" if shutil.which("storescu") else "dcmtk is not installed")
    if missing:
        return [skipped(work.format(count), missing) for count, _ in STUDIES]
    lines, number = [], 0
    with tempfile.TemporaryDirectory(prefix="bench-trip-") as name, _chain(Path(name)) as (port, peer):
        for count, limit in STUDIES:
            files, samples = _files(count), dict[str, list[float]](ours=[], sending=[])
            for _ in range(plan.pairs + 1):
                number += 1
                folder = _write(Path(name) / f"study-{number}", files, STEM.format(number))
                sending, whole = _trip(folder, port, peer, STEM.format(number))
                samples["sending"].append(sending)
                samples["ours"].append(whole)
            samples = {name: values[1:] for name, values in samples.items()}
            lines.append(_line(work.format(count), samples, limit))
    return lines


def _line(work: str, samples: dict[str, list[float]], limit: float) -> Line:
    seconds = median(samples["ours"])
    note = f"without a model's own time and without quiet time; storescu alone took {median(samples['sending']):.2f} s"
    return Line(
        work=work, unit="s", ours=seconds, must_reach=f"<= {limit:g} s", met=seconds <= limit, note=note,
        samples=samples,
    )  # fmt: skip


@contextmanager
def _chain(folder: Path) -> Iterator[tuple[int, int]]:
    """Yield the port of associations, and that of Orthanc."""
    with orthanc.serving() as peer:
        (folder / "rules.toml").write_text(RULES, encoding="utf-8")
        peers = folder / "peers.toml"
        peers.write_text(f'[peers.pacs]\ndicomweb = "http://127.0.0.1:{peer}{orthanc.ROOT}"\n', encoding="utf-8")
        peers.chmod(0o600)
        place = folder / "gateway"
        routing, named = str(folder / "rules.toml"), str(peers)
        with (
            gateway_of_associations(place, {"GATEWAY_ROUTING": routing, "GATEWAY_PEERS": named}) as port,
            servers.ours(
                app="benchmarks.segmenting:app",
                GATEWAY_STORE_FOLDER=str(place / "store"),
                GATEWAY_ROUTING=routing,
                GATEWAY_PEERS=named,
            ),
        ):
            yield port, peer


def _files(count: int) -> list[bytes]:
    """The slices of a series, half a millimetre apart, whose UIDs begin with the stem of number 0."""
    stem = STEM.format(0)
    few, files = list(phantom.datasets(slices=4, size=SIZE)), list[bytes]()
    for index in range(count):
        dataset = deepcopy(few[index % 4])
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = UID(f"{stem}.1"), UID(f"{stem}.2")
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(f"{stem}.3.{index + 1001}")
        dataset.InstanceNumber = index + 1
        dataset.ImagePositionPatient = [*few[0].ImagePositionPatient[:2], index * 0.5]
        dataset.SliceThickness = dataset.SpacingBetweenSlices = 0.5
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        files.append(buffer.getvalue())
    return files


def _write(folder: Path, files: list[bytes], stem: str) -> Path:
    folder.mkdir()
    for number, data in enumerate(files):
        (folder / f"{number:04d}.dcm").write_bytes(data.replace(STEM.format(0).encode(), stem.encode()))
    return folder


def _trip(folder: Path, port: int, peer: int, stem: str) -> tuple[float, float]:
    """Send a study; the seconds until it is sent, and until its SEG is in Orthanc."""
    began = time.perf_counter()
    command = ["storescu", "+sd", "-aec", "GATEWAY", "127.0.0.1", str(port), str(folder)]
    subprocess.run(command, env=os.environ | NO_DELAY, check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL)
    sent = time.perf_counter() - began
    url = f"http://127.0.0.1:{peer}{orthanc.ROOT}/studies/{stem}.1/series?Modality=SEG"
    while time.perf_counter() - began < PATIENCE:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            if json.loads(answer.read() or b"[]"):
                return sent, time.perf_counter() - began
        time.sleep(LOOK)
    raise ValueError("no SEG arrived in Orthanc")
