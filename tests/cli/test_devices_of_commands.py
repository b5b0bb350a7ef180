"""``--devices`` of the commands that run models without a server."""

import csv
import json
import os
import time
from pathlib import Path

import pytest

from gateway.dicom.samples import phantom
from tests.commands import command
from tests.waiting import PATIENCE

MODEL = """
import os
from pathlib import Path
from gateway import Classification, Execution, Gateway, Volume, current_device

IMPORTED = os.environ.get("CUDA_VISIBLE_DEVICES", "unset")
app = Gateway(__name__)

@app.model("/", execution=Execution(devices="auto", memory="3 GiB"))
def seen(ct: Volume) -> Classification:
    with Path(os.environ["SEEN"]).open("a") as file:
        file.write(f"{os.getpid()} {IMPORTED} {current_device()}\\n")
    return Classification({"slices": str(len(ct.array))})
"""
DEVICES = "fake:0=4GiB,fake:1=4GiB"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model and two studies."""
    (tmp_path / "seeing.py").write_text(MODEL)
    for name in ("a", "b"):
        phantom.write(tmp_path / "archive" / name, slices=3, size=16, study=name)
    return tmp_path


def run(folder: Path, *words: object, **variables: str) -> str:
    environ = {name: text for name, text in os.environ.items() if not name.startswith("GATEWAY_")}
    ran = command(*words, folder=folder, environ=environ | {"SEEN": str(folder / "seen"), **variables})
    return ran.stderr if ran.returncode else ""


def seen(folder: Path) -> set[tuple[str, str]]:
    """What each process has shown the model at its import, and told it to compute on."""
    lines = [line.split() for line in (folder / "seen").read_text().splitlines()]
    return {(visible, device) for _, visible, device in lines}


@pytest.mark.parametrize(("devices", "visible"), [("fake:1", "fake:1"), (DEVICES, "fake:0"), ("none", "-1")])
def test_run_shows_its_process_the_first_device(folder: Path, devices: str, visible: str) -> None:
    assert not run(folder, "run", "seeing.py", "-i", "archive/a", "-o", "out", "--devices", devices)
    assert seen(folder) == {(visible, "cpu")}


def test_run_refuses_a_device_that_is_not_there_before_it_imports_the_model(folder: Path) -> None:
    told = run(folder, "run", "seeing.py", "-i", "archive/a", "-o", "out", GATEWAY_DEVICES="rocm:7")
    assert "This machine has no device rocm:7" in told
    assert not (folder / "seen").exists()


def test_batch_gives_its_processes_a_device_each(folder: Path) -> None:
    words = ("batch", "seeing.py", "-i", "archive", "-o", "out", "--jobs", "2", "--devices", DEVICES)
    assert not run(folder, *words)
    assert seen(folder) <= {("fake:0", "cpu"), ("fake:1", "cpu")}
    with (folder / "out" / "studies.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["answered"] * 2
    began = time.monotonic()
    assert "do not fit" in run(folder, *words[:-1], "fake:0=4GiB", "-o", "other")
    assert time.monotonic() - began < PATIENCE / 2  # and not after the time of a request


def test_doctor_places_the_processes_of_an_application(folder: Path) -> None:
    def findings(**variables: str) -> dict[str, dict[str, str]]:
        environ = {name: text for name, text in os.environ.items() if not name.startswith("GATEWAY_")}
        ran = command("doctor", "--json", "--app", "seeing:app", folder=folder, environ=environ | variables)
        return {each["name"]: each for each in json.loads(ran.stdout)["findings"]}

    placed = findings(GATEWAY_DEVICES=DEVICES, GATEWAY_MODEL_PROCESSES="2")
    assert placed["devices"]["text"] == "fake:0 4 GiB, fake:1 4 GiB, for each model process one."
    assert placed["placement"]["text"] == "/ on fake:0, fake:1."
    refused = findings(GATEWAY_DEVICES=DEVICES, GATEWAY_MODEL_PROCESSES="3")
    assert (refused["placement"]["level"], refused["devices"]["level"]) == ("fail", "ok")
    assert "/ 3 x 3 GiB" in refused["placement"]["text"]
    assert findings(GATEWAY_DEVICES="rocm:7")["devices"]["level"] == "fail"
