"""``python -m gateway batch`` over small archives, through the command line."""

import csv
import json
import signal
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from gateway import Client
from gateway.client.wsgi import LOCAL, session
from gateway.dicom.samples.phantom import HEIGHT_MM, WIDTH_MM
from tests.batch.conftest import write_study
from tests.commands import Command, command
from tests.waiting import PATIENCE, eventually

APP = """
import os, time
from pathlib import Path
from gateway import BoundingBox, Classification, Execution, Gateway, Image, LinearMeasurement, Mask
from gateway import StudyRefused, Volume

app = Gateway(__name__)

@app.model("/bone", version="2", execution=Execution(warm_up=False))
def bone(ct: Volume, threshold: float = 300) -> tuple[Mask, BoundingBox, LinearMeasurement, Classification]:
    if len(ct.array) == 4:
        raise StudyRefused("Four slices are too many.")
    if len(ct.array) == 5:
        raise KeyError("a bug")
    if len(ct.array) == 6:
        os.kill(os.getpid(), 9)
    if gate := os.environ.get("BATCH_GATE"):
        Path(gate, f"{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(float(os.environ["BATCH_SECONDS"]))
    return (Mask(ct.array > threshold, "Bone"), BoundingBox("spot", (1, 2), (3, 4), slice=0),
            LinearMeasurement("axis", (0, 0), (3, 4), slice=0), Classification({"score": 0.5}))

@app.model("/other")
def other(ct: Volume) -> Mask:
    return Mask(ct.array > 0)

@app.model("/bright")
def bright(images: list[Image]) -> list[Mask]:
    return [Mask(image.array > 100, "Bright", of=image) for image in images]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "service.py").write_text(APP)
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def batch(folder: Path, *words: object, processes: int = 0) -> "tuple[int, str, str]":
    environ = {"PATH": "/usr/bin", "GATEWAY_MODEL_PROCESSES": str(processes)}
    line = ("batch", "service:app", "-i", "archive", "-o", "out", "--model", "/bone", *words)
    done = command(*line, folder=folder, environ=environ)
    return done.returncode, done.stdout, done.stderr


def test_an_archive_becomes_tables_and_folders(folder: Path, archive: Path) -> None:
    refused = write_study(archive / "four", "four", slices=4)
    failed = write_study(archive / "five", "five", slices=5)
    status, out, err = batch(folder, "--jobs", "2")
    assert (status, out.splitlines()[0]) == (1, "studies 3 answered, 1 refused, 1 failed"), err
    table = {row["study"]: row for row in rows(folder / "out" / "studies.csv")}
    assert table[refused]["reason"] == "Four slices are too many."
    assert "KeyError" in table[failed]["reason"]
    answered = [row for row in table.values() if row["state"] == "answered"]
    found = rows(folder / "out" / "findings.csv")
    for row in answered:
        results = folder / "out" / row["folder"]
        assert json.loads((results / "response.json").read_text())["parts"][0]["label"] == "Bone"
        mask = np.load(results / "output_masks_1.npy")
        mine = {line["kind"]: line for line in found if line["study"] == row["study"]}
        assert len(mine) == int(row["findings"]) == 4
        voxel = (WIDTH_MM / 16) ** 2 * HEIGHT_MM / 3 / 1000
        assert mine["boolean mask"]["unit"] == "mL"
        assert float(mine["boolean mask"]["value"]) / voxel == pytest.approx(mask.sum(), rel=1e-3)
        assert (mine["bounding box"]["value"], mine["bounding box"]["unit"]) == ("1 2 3 4", "px")
        assert (mine["label"]["label"], mine["label"]["value"]) == ("score", "0.5")
    log = (folder / "out" / "batch.log").read_text()
    assert "door=batch" in log
    assert not any(row["study"] in log for row in table.values())


def test_a_batch_answers_as_a_request_does(folder: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert batch(folder)[0] == 0
    (row, *_) = rows(folder / "out" / "studies.csv")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    namespace: dict[str, object] = {"__name__": "asked"}
    exec(APP, namespace)
    with Client(LOCAL, session=session(namespace["app"])) as client:
        paths = [path for path in archive.rglob("*.dcm") if row["study"] in _uid(path)]
        answer = client.infer(paths, "/bone").answer
    (mask,) = answer.masks()
    assert np.array_equal(mask, np.load(folder / "out" / row["folder"] / "output_masks_1.npy"))
    assert answer.output_digest == row["output_digest"]


def _uid(path: Path) -> str:
    import pydicom

    return str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID)


def test_a_second_batch_goes_on_and_a_changed_study_runs_again(folder: Path, archive: Path) -> None:
    assert batch(folder)[0] == 0
    status, _, err = batch(folder)
    assert status == 1
    assert "--resume" in err
    before = {row["study"]: row["request_id"] for row in rows(folder / "out" / "studies.csv")}
    (archive / "a" / "CT0003.dcm").unlink()
    status, out, _ = batch(folder, "--resume")
    assert (status, "2 were done before" in out) == (0, True)
    after = {row["study"]: row["request_id"] for row in rows(folder / "out" / "studies.csv")}
    assert after.keys() == before.keys()
    assert sum(after[study] != before[study] for study in before) == 1
    assert len(rows(folder / "out" / "studies.csv")) == 3
    assert len(rows(folder / "out" / "findings.csv")) == 4 * 3


def test_a_refused_parameter_ends_the_batch(folder: Path, archive: Path) -> None:
    status, _, err = batch(folder, "--param", "threshold=high")
    assert status == 1
    assert "threshold" in err
    assert not rows(folder / "out" / "studies.csv")


def test_unknown_models_and_empty_archives_are_named(folder: Path, archive: Path) -> None:
    done = command("batch", "service:app", "-i", "archive", "-o", "out", folder=folder, environ={"PATH": "/usr/bin"})
    assert "this application has /bone, /other, /bright" in done.stderr
    (folder / "empty").mkdir()
    done = command("batch", "service:app", "-i", "empty", "-o", "out", "-r", "other", folder=folder, environ={})
    assert "no DICOM file" in done.stderr
    assert not (folder / "out").exists()


def test_objects_and_pictures_on_request(folder: Path, archive: Path) -> None:
    assert batch(folder, "--output", "dicom", "--pictures")[0] == 0
    for results in (folder / "out" / "results").iterdir():
        names = {path.name for path in results.iterdir()}
        assert {"seg_0.dcm", "contact_sheet.png"} <= names
        assert not any(name.endswith(".npy") for name in names)
    masks = [row for row in rows(folder / "out" / "findings.csv") if row["kind"] == "boolean mask"]
    assert [row["label"] for row in masks] == ["Bone"] * 3


def test_a_folder_of_images_is_drawn(folder: Path) -> None:
    (folder / "archive" / "photos").mkdir(parents=True)
    for name in ("9.png", "10.png"):
        PIL.Image.fromarray(np.eye(8, dtype=np.uint8) * 200).save(folder / "archive" / "photos" / name)
    status, _, err = batch(folder, "--pictures", "--model", "/bright")
    assert status == 0, err
    names = {path.name for path in (folder / "out" / "results" / "photos").iterdir()}
    assert {"0_9.png.png", "1_10.png.png", "contact_sheet.png", "output_masks_2.npy"} <= names


@pytest.mark.slow
def test_a_killed_model_process_fails_its_own_study_alone(folder: Path, archive: Path) -> None:
    fatal = write_study(archive / "six", "six", slices=6)
    status, out, err = batch(folder, "--jobs", "2", processes=2)
    assert (status, out.splitlines()[0]) == (1, "studies 3 answered, 0 refused, 1 failed"), err
    (failed,) = [row for row in rows(folder / "out" / "studies.csv") if row["state"] == "failed"]
    assert failed["study"] == fatal


@pytest.mark.slow
def test_a_killed_batch_goes_on_and_leaves_no_process(folder: Path, archive: Path) -> None:
    for name in "defgh":
        write_study(archive / name, name)
    gate = folder / "gate"
    gate.mkdir()
    environ = {"PATH": "/usr/bin", "BATCH_GATE": str(gate), "BATCH_SECONDS": "0.3"}
    line = ["batch", "service:app", "-i", "archive", "-o", "out", "--model", "/bone", "--jobs", "2"]
    running = Command(line, folder, environ, [folder / "log"])
    studies = folder / "out" / "studies.csv"
    eventually(lambda: studies.exists() and len(rows(studies)) >= 2)
    running.send_signal(signal.SIGKILL)
    running.wait(PATIENCE)
    done = len(rows(studies))
    assert 2 <= done < 8
    resumed = command(*line, "--resume", folder=folder, environ=environ | {"BATCH_SECONDS": "0"})
    assert resumed.returncode == 0, resumed.stderr
    assert len({row["study"] for row in rows(studies)}) == len(rows(studies)) == 8
    assert len(rows(folder / "out" / "findings.csv")) == 8 * 4
    calls = len(list(gate.iterdir()))
    assert calls <= 8 + 2, "no study but those in flight ran twice"
