"""One job in a container: grand-challenge's folders of sockets, and those of a MONAI Application Package."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK

from tests.batch.conftest import write_study
from tests.commands import command

APP = """
from typing import Annotated
from gateway import BoundingBox, Classification, Gateway, Image, LinearMeasurement, Mask
from gateway import ProbabilityMask, Requires, Volume

app = Gateway(__name__)

@app.model("/")
def bone(ct_image: Annotated[Volume, Requires(modality="CT")], threshold: float = 300) -> tuple[
        Mask, ProbabilityMask, BoundingBox, LinearMeasurement, Classification]:
    found = ct_image.array > threshold
    return (Mask(found, "Bone mask"), ProbabilityMask(found / 2, "Likely"),
            BoundingBox("spot", (1, 0), (3, 2), slice=2), LinearMeasurement("axis", (0, 0), (4, 0), slice=0),
            Classification({"bone-volume": float(found.sum()), "spacing": ct_image.spacing.tolist()}))

@app.model("/eye")
def eye(fundus: Image) -> Classification:
    return Classification({"shape": list(fundus.array.shape)})

@app.model("/two")
def two(first: Volume, second: Volume) -> Mask:
    return Mask(first.array > second.array, "More", of=second)
"""
DIRECTION = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
"""A quarter turn about z."""
SPACING, ORIGIN = (0.5, 0.75, 2.0), (10.0, 20.0, -30.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "service.py").write_text(APP)
    return tmp_path


def image(folder: Path, slug: str, array: np.ndarray[Any, Any], suffix: str = ".mha") -> dict[str, Any]:
    """Write an input image; return its entry of ``inputs.json``."""
    made = SimpleITK.GetImageFromArray(array, isVector=array.shape[-1] == 3)
    if array.ndim == 3 and array.shape[-1] != 3:
        made.SetSpacing(SPACING)
        made.SetOrigin(ORIGIN)
        made.SetDirection(DIRECTION)
    path = folder / "input" / "images" / slug / f"a-uuid{suffix}"
    path.parent.mkdir(parents=True)
    SimpleITK.WriteImage(made, str(path))
    return {"socket": {"slug": slug, "relative_path": f"images/{slug}", "super_kind": "Image"}, "value": None}


def job(folder: Path, entries: list[dict[str, Any]], *words: object, environ: dict[str, str] | None = None) -> Any:
    (folder / "input" / "inputs.json").write_text(json.dumps(entries))
    line = ("batch", "service:app", "--convention", "grand-challenge", "-i", "input", "-o", "output", *words)
    return command(*line, folder=folder, environ=environ or {"PATH": "/usr/bin"})


def test_a_job_of_grand_challenge_answers_on_the_grid_of_its_image(folder: Path) -> None:
    values = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5) * 10 - 100
    entry = image(folder, "ct-image", values)
    (folder / "input" / "threshold.json").write_text("200")
    parameter = {"interface": {"slug": "threshold", "relative_path": "threshold.json", "super_kind": "Value"}}
    done = job(folder, [entry, parameter], "-r", "/", "--socket", "Likely=likelihood")
    assert done.returncode == 0, done.stderr
    out = folder / "output"
    mask = SimpleITK.ReadImage(str(out / "images" / "bone-mask" / "output.mha"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(mask), values > 200)
    geometry = (mask.GetSpacing(), mask.GetOrigin(), mask.GetDirection())
    assert geometry == (SPACING, ORIGIN, DIRECTION)
    likely = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(out / "images" / "likelihood" / "output.mha")))
    assert likely.dtype == np.float32
    assert np.allclose(likely, (values > 200) / 2, atol=1 / 255)
    assert json.loads((out / "bone-volume.json").read_text()) == (values > 200).sum()
    assert json.loads((out / "spacing.json").read_text()) == [2.0, 0.75, 0.5]
    (box,) = json.loads((out / "bounding-boxes.json").read_text())["boxes"]
    expected = [mask.TransformIndexToPhysicalPoint(index) for index in ((1, 0, 2), (3, 0, 2), (3, 2, 2), (1, 2, 2))]
    assert np.allclose(box["corners"], expected)
    (line,) = json.loads((out / "lines.json").read_text())["lines"]
    assert np.allclose(line["path_points"][1], mask.TransformIndexToPhysicalPoint((4, 0, 0)))


def test_a_picture_of_a_job_is_an_image(folder: Path) -> None:
    entry = image(folder, "retina", np.zeros((6, 7, 3), np.uint8), ".tif")
    done = job(folder, [entry], "-r", "/eye")
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "output" / "shape.json").read_text()) == [6, 7, 3]


def test_several_images_are_arguments_by_their_slugs(folder: Path) -> None:
    low, high = np.zeros((2, 3, 4), np.float32), np.ones((2, 3, 4), np.float32)
    done = job(folder, [image(folder, "second", low), image(folder, "first", high)], "-r", "/two")
    assert done.returncode == 0, done.stderr
    mask = SimpleITK.ReadImage(str(folder / "output" / "images" / "more" / "output.mha"))
    assert SimpleITK.GetArrayFromImage(mask).all()


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"not": "a list"}, "should be a list"),
        ([{"socket": {"slug": "x"}}], "should be a list"),
        ([{"socket": {"slug": "ct-image", "relative_path": "../etc", "super_kind": "Image"}}], "outside"),
        ([{"socket": {"slug": "ct-image", "relative_path": "images/none", "super_kind": "Image"}}], "it has 0"),
        ([{"socket": {"slug": "a", "relative_path": "a.json", "super_kind": "Value"}}], "a.json cannot be read"),
    ],
)
def test_wrong_inputs_are_named(folder: Path, entries: Any, sentence: str) -> None:
    (folder / "input").mkdir()
    done = job(folder, entries, "-r", "/")
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_image_and_one_of_another_modality_are_refused(folder: Path) -> None:
    entry = image(folder, "mri", np.zeros((2, 3, 4), np.int16))
    done = job(folder, [entry], "-r", "/")
    assert done.returncode == 1
    assert "CT" in done.stderr
    next((folder / "input" / "images" / "mri").iterdir()).write_bytes(b"ObjectType = Image\n")
    done = job(folder, [entry], "-r", "/")
    assert done.returncode == 1
    assert "cannot be read as an image" in done.stderr


def test_a_package_reads_and_writes_where_its_environment_says(folder: Path) -> None:
    write_study(folder / "work" / "in", "a")
    environ = {"PATH": "/usr/bin", "HOLOSCAN_WORKDIR": str(folder / "work"), "HOLOSCAN_INPUT_PATH": "in/"}
    environ |= {"HOLOSCAN_OUTPUT_PATH": str(folder / "results"), "GATEWAY_MODEL_PROCESSES": "0"}
    done = command("batch", "service:app", "--convention", "map", "-r", "/", folder=folder, environ=environ)
    assert done.returncode == 0, done.stderr
    segmentations = sorted((folder / "results").rglob("seg_*.dcm"))
    assert segmentations
    assert {pydicom.dcmread(path).Modality for path in segmentations} == {"SEG"}
