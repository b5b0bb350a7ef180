"""A WASM function as a model of images: what it gets of each, and what its masks become."""

import hashlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from gateway import Gateway, Heatmap, LabelMask, Mask, ProbabilityMask, StudyRefused
from gateway.adapters.wasm.graymaps import graymap, mask
from gateway.client import Refused
from gateway.contract.execution import Execution
from gateway.dicom.volumes.study import image as image_of
from gateway.dicom.volumes.study import split
from gateway.errors import AnswerInvalid
from gateway.testing import client
from tests.adapters import wat
from tests.commands import ROOT
from tests.dicom import studies

OTSU = ROOT / "models/wasm/otsu_mask.wasm"
STORED = np.linspace(-32768, 32767, 255).round().astype(np.int32).reshape(15, 17)


def stated(dataset: Dataset, **attributes: Any) -> Dataset:
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def as_image(dataset: Dataset) -> Any:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return image_of(split([file])[0][0])


def read(pgm: bytes) -> tuple[dict[str, str], np.ndarray[Any, Any]]:
    """The comments of a PGM, and its samples."""
    found = re.fullmatch(rb"P5\n((?:# \S+ \S+\n)*)(\d+) (\d+)\n65535\n(.*)", pgm, re.DOTALL)
    assert found
    comments = dict(line[2:].split() for line in found[1].decode().splitlines())
    return comments, np.frombuffer(found[4], ">u2").reshape(int(found[3]), int(found[2]))


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (2.5, 0.125), (-0.5, 10)])
def test_every_stored_value_has_its_value_in_units_by_one_formula(signed: bool, slope: float, intercept: float) -> None:
    pixels = STORED if signed else STORED + 32768
    dataset = studies.image(size=STORED.shape, pixels=pixels.astype(np.uint16))
    stated(dataset, RescaleSlope=slope, RescaleIntercept=intercept, PixelRepresentation=int(signed))
    image = as_image(dataset)
    comments, samples = read(graymap(image))
    values = samples * float(comments["rescale-slope"]) + float(comments["rescale-intercept"])
    np.testing.assert_array_equal(values, pixels * slope + intercept)
    np.testing.assert_allclose(values, image.array, rtol=1e-6)
    assert comments["photometric-interpretation"] == "MONOCHROME2"


def test_an_image_without_a_rescale_states_the_identity() -> None:
    comments, samples = read(graymap(as_image(studies.image())))
    assert (float(comments["rescale-slope"]), float(comments["rescale-intercept"])) == (1, 0)
    assert (samples == studies.GREY).all()


def test_an_image_of_8_bits_has_samples_of_16() -> None:
    dataset = studies.image(size=(2, 2))
    stated(dataset, BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=bytes([0, 7, 254, 255]))
    assert read(graymap(as_image(dataset)))[1].ravel().tolist() == [0, 7, 254, 255]


def test_images_that_a_graymap_cannot_say_are_refused() -> None:
    colour = stated(
        studies.image(size=(2, 2)), SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0
    )
    stated(colour, PhotometricInterpretation="RGB", BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=bytes(12))
    wide = stated(studies.image(size=(1, 2)), BitsAllocated=32, BitsStored=32, HighBit=31)
    wide.PixelData = np.array([0, 65536], "<u4").tobytes()
    table = Dataset()
    table.LUTDescriptor, table.LUTData, table.ModalityLUTType = [1, 0, 16], [0], "US"
    for dataset in (colour, wide, stated(studies.image(), ModalityLUTSequence=[table])):
        with pytest.raises(StudyRefused):
            graymap(as_image(dataset))


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"P5\n3 2\n255\n\x00\x01\xff\x02\x00\x03", [[0, 1, 255], [2, 0, 3]]),
        (b"P5 # one\n#two\n3\t2 255\r\x00\x01\xff\x02\x00\x03", [[0, 1, 255], [2, 0, 3]]),
        (b"P4\n3 2\n\x40\xa0", [[0, 255, 0], [255, 0, 255]]),
    ],
    ids=["PGM", "with comments", "PBM"],
)
def test_a_mask_is_a_graymap_or_a_bitmap(data: bytes, wanted: list[list[int]]) -> None:
    assert mask(data, (2, 3)).tolist() == wanted


@pytest.mark.parametrize(
    "data",
    [b"", b"P5", b"P5\n3 2\n255\n", b"P5\n3 2\n255\n12345", b"P5\n3 2\n255\n1234567", b"P5\n2 3\n255\n123456"]
    + [b"P5\n3 2\n65535\n" + bytes(12), b"P5\n3 2\n1\n123456", b"P4\n3 2\n\x00", b"P6\n3 2\n255\n" + bytes(18)]
    + [b"P5\n-3 2\n255\n123456", b"P5\n3 2\n" + b"#" * 100_000, b"P5" + b"\n" * 100_000, b"\x89PNG\r\n\x1a\n"],
)
def test_other_bytes_are_no_mask(data: bytes) -> None:
    with pytest.raises(AnswerInvalid):
        mask(data, (2, 3))


def study(folder: Path) -> list[Path]:
    """A CT of three signed slices, in which a square of 200 HU lies in -1000 HU."""
    for index in range(3):
        stored = np.full((16, 20), 24, np.int16)
        stored[4:8, 5 : 10 + index] = 1224
        stored[0, 0] = -5  # padding below all of it
        dataset = studies.image(name=str(index), number=index + 1, z=2.0 * index, size=stored.shape, pixels=stored)
        stated(dataset, RescaleSlope=1, RescaleIntercept=-1024, PixelRepresentation=1)
        studies.put(folder, f"{index}.dcm", dataset)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def app() -> Gateway:
    made = Gateway(__name__)
    made.add_wasm_route("/otsu", OTSU, finds=Mask)
    made.add_wasm_route("/heat", OTSU, finds=Heatmap)
    made.add_wasm_route("/chance", OTSU, finds=ProbabilityMask, execution=Execution(concurrency=1))
    return made


@pytest.mark.parametrize("route", ["/otsu", "/heat", "/chance"])
def test_each_image_has_a_mask_of_its_own(app: Gateway, tmp_path: Path, route: str) -> None:
    result = client(app).infer(study(tmp_path / "study"), route)
    inside = 1 if route == "/otsu" else 255
    assert [part["label"] for part in result.json["parts"]] == ["otsu_mask"] * 3
    for index, found in enumerate(result.masks):
        wanted = np.zeros((16, 20), np.uint8)
        wanted[4:8, 5 : 10 + index] = inside
        np.testing.assert_array_equal(found, wanted)


def test_the_masks_are_segmentations_where_dicom_is_accepted(app: Gateway, tmp_path: Path) -> None:
    objects = client(app).infer(study(tmp_path / "study"), "/otsu", output="dicom").objects
    assert [one.Modality for one in objects] == ["SEG"] * 3
    assert [int(np.unpackbits(np.frombuffer(one.PixelData, np.uint8)).sum()) for one in objects] == [20, 24, 28]


def test_its_digest_is_the_model_s_and_an_invalid_output_is_the_model_s_fault(tmp_path: Path) -> None:
    path = wat.saved(wat.command(wat.ECHO), tmp_path)
    app = Gateway(__name__)
    app.add_wasm_route("/echo", path, finds=Mask)
    with pytest.raises(Refused) as caught:
        client(app).infer(study(tmp_path / "study"), "/echo")
    assert (caught.value.status, caught.value.code) == (500, "answer-invalid")
    card = app.service.models["/echo"].card
    assert (card.model_digest, card.deterministic) == (hashlib.sha256(path.read_bytes()).hexdigest(), True)


def test_a_finding_that_needs_more_than_an_array_is_refused_where_the_route_is_added() -> None:
    with pytest.raises(TypeError, match="ProbabilityMask"):
        Gateway(__name__).add_wasm_route("/labels", OTSU, finds=LabelMask)
