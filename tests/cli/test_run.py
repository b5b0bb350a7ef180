"""``run`` calls a model without a server and checks its answer."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.dicom.samples import phantom

ROOT = Path(__file__).parents[2]

MODELS = """
import numpy as np
import pydicom
from gateway import Gateway, Mask, StudyRefused, Volume

app = Gateway(__name__)

@app.model("/bone", version="1")
def bone(ct: Volume, threshold: float = 300) -> Mask:
    return Mask(ct.array > threshold)

def plain(json_input, dicom_instances, input_digest):
    return {"study_ml_json": {"images": len(dicom_instances)}}, []

def wrong(json_input, dicom_instances, input_digest):
    return {"parts": [{"binary_type": "boolean_mask", "binary_data_shape": {"height": 2, "width": 2}}]}, [bytes(3)]

def refuses(json_input, dicom_instances, input_digest):
    raise StudyRefused("Not this one.")
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    phantom.write(folder, slices=6, size=64)
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", *words]
    environment = {"PYTHONPATH": f"{folder}:{ROOT}", "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("target", ["these:bone", "these:plain"])
def test_a_good_answer_has_a_verdict_files_and_pictures(tmp_path: Path, study: Path, target: str) -> None:
    (tmp_path / "these.py").write_text(MODELS)
    done = run(tmp_path, "run", target, "-i", str(study), "-o", "out", *("--param", "threshold=500"))
    assert done.returncode == 0, done.stderr
    assert "verdict good" in done.stdout
    assert (tmp_path / "out" / "response.json").is_file()
    assert (tmp_path / "out" / "contact_sheet.png").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("these:wrong",), "3 bytes"),
        (("these:refuses",), "Not this one."),
        (("these:bone", "--param", "threshold=high"), "threshold"),
        (("these:nothing",), "no nothing"),
        (("nowhere:bone",), "no module nowhere"),
        (("these",), "module:name"),
    ],
)
def test_an_answer_that_would_be_refused_ends_in_one_line_and_a_failure(
    tmp_path: Path, study: Path, words: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "these.py").write_text(MODELS)
    done = run(tmp_path, "run", *words, "-i", str(study), "-o", "out")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert sentence in line


def test_a_profile_names_the_model_and_its_memory(tmp_path: Path, study: Path) -> None:
    (tmp_path / "these.py").write_text(MODELS)
    done = run(tmp_path, "run", "these:bone", "-i", str(study), "-o", "out", "--profile")
    assert "these.py" in done.stdout
    assert "MiB at its peak" in done.stdout
