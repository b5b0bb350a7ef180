"""Masks leave as NIfTI on the grid of the images that were sent, whichever form these had."""

import gzip
import io
import json
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pytest
import requests
from nibabel.nifti1 import Nifti1Image
from nibabel.nifti2 import Nifti2Image
from pydicom.pixels.processing import apply_modality_lut

from gateway import Classification, Gateway, LabelMask, Mask, ProbabilityMask, Settings, Volume
from gateway.client.wsgi import LOCAL, session
from gateway.dicom.samples import phantom
from tests.dicom.volumes.nifti_files import SHAPE, VOXELS, nifti, packed

NIFTI, FILES = "application/x-nifti", "application/zip; masks=nifti"
OBLIQUE = np.array([[0.0, 1.2, -0.9, 30], [-2, 0, 0, 7], [0, 0.9, 1.2, -60], [0, 0, 0, 1]])
"""To RAS: columns run to the back, rows to the right and up, slices to the left and up; steps of 2, 1.5 and 1.5 mm."""


def dense(image: Volume, level: float = 5) -> Mask:
    return Mask(image.array > level, "Dense")


def likely(image: Volume) -> ProbabilityMask:
    return ProbabilityMask(image.array / 255, "Likely")


def apart(image: Volume) -> list[Mask | LabelMask]:
    labels = (image.array < 3) * np.uint8(7) + (image.array > 20) * np.uint8(9)
    return [Mask((image.array > 5) & (image.array < 9), "Middle"), LabelMask(labels, {7: "Low", 9: "High"})]


def overlapping(image: Volume) -> list[Mask]:
    return [Mask(image.array > 5, "More"), Mask(image.array > 9, "Most")]


def mixed(image: Volume) -> list[Mask | ProbabilityMask]:
    return [dense(image), likely(image)]


def many(image: Volume) -> list[Mask | LabelMask]:
    labels = (np.arange(image.array.size) % 251).astype(np.uint8).reshape(image.shape)
    return [Mask(labels == 0, "Rest"), LabelMask(labels, {value: f"Part {value}" for value in range(1, 251)})]


def worded(image: Volume) -> Classification:
    return Classification({"voxels": image.array.size})


app = Gateway(__name__, settings=Settings())
for model in (dense, likely, apart, overlapping, mixed, many, worded):
    app.model(f"/{model.__name__}")(model)
client = session(app)


def post(data: bytes, route: str, accept: str = NIFTI, content: str = NIFTI) -> requests.Response:
    return client.post(LOCAL + route, data=data, headers={"Content-Type": content, "Accept": accept})


def loaded(data: bytes) -> Any:
    return Nifti1Image.from_bytes(gzip.decompress(data))


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-1.0, -1, 1, 1]), np.diag([1.0, -2, -3, 1]), OBLIQUE])
@pytest.mark.parametrize("pack", [bytes, packed], ids=["nii", "nii.gz"])
def test_a_mask_has_the_grid_of_the_file_that_was_sent(affine: Any, pack: Any) -> None:
    response = post(pack(nifti(affine=affine, unit="meter")), "/dense")
    assert response.headers["Content-Type"] == NIFTI and len(response.headers["X-Hashes"]) == 129
    found = loaded(response.content)
    assert np.array_equal(found.dataobj, VOXELS > 5) and found.get_data_dtype() == np.uint8
    np.testing.assert_allclose(found.affine, affine, atol=1e-5)
    assert found.header.get_xyzt_units()[0] == "meter"
    assert found.header["qform_code"] == found.header["sform_code"] == 1


def test_both_places_of_a_file_are_kept_and_its_texts_are_not() -> None:
    image: Any = Nifti1Image(VOXELS, np.eye(4))
    image.set_sform(np.diag([2.0, 2, 2, 1]), 4)
    image.set_qform(OBLIQUE, 1)
    for field in ("descrip", "aux_file", "db_name", "intent_name"):
        image.header[field] = b"DOE^JANE"
    data = post(image.to_bytes(), "/dense").content
    found = loaded(data)
    for form in ("sform", "qform"):
        ours, theirs = (getattr(one, f"get_{form}")(coded=True) for one in (found, image))
        np.testing.assert_allclose(ours[0], theirs[0], atol=1e-6)
        assert ours[1] == theirs[1]
    assert b"DOE" not in gzip.decompress(data)


def test_nifti_2_is_answered_as_nifti_2() -> None:
    found = Nifti2Image.from_bytes(gzip.decompress(post(nifti(two=True), "/dense").content))
    assert np.array_equal(found.dataobj, VOXELS > 5)


def test_probabilities_are_fractions() -> None:
    found = loaded(post(nifti(VOXELS.astype(np.float32) / VOXELS.max() * 255), "/likely").content)
    assert found.get_data_dtype() == np.float32
    np.testing.assert_allclose(found.dataobj, VOXELS / VOXELS.max(), atol=1 / 255)


def test_masks_that_do_not_overlap_are_one_map_of_labels() -> None:
    found = loaded(post(nifti(), "/apart").content)
    expected = 1 * ((VOXELS > 5) & (VOXELS < 9)) + 2 * (VOXELS < 3) + 3 * (VOXELS > 20)
    assert np.array_equal(found.dataobj, expected)
    (comment,) = found.header.extensions
    text = comment.get_content()
    assert json.loads(text if isinstance(text, str) else text.decode())["labels"] == {
        "1": "Middle",
        "2": "Low",
        "3": "High",
    }


@pytest.mark.parametrize(("route", "word"), [("/overlapping", "overlap"), ("/mixed", "probab"), ("/worded", "no mask")])
def test_what_one_file_cannot_have_is_refused_in_words(route: str, word: str) -> None:
    response = post(nifti(), route)
    assert (response.status_code, response.json()["type"]) == (406, "urn:gateway:problem:not-acceptable")
    assert word in response.json()["detail"]


def test_a_map_of_many_labels_takes_the_memory_of_few() -> None:
    sent = nifti(np.zeros((16, 128, 128), np.uint8), np.eye(4))
    voxels = 16 * 128 * 128
    tracemalloc.start()
    try:
        answer = post(sent, "/many")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(np.unique(np.asanyarray(loaded(answer.content).dataobj))) == 251
    assert peak < 100 * voxels


def test_an_archive_has_a_file_for_each_mask() -> None:
    response = post(nifti(), "/mixed", FILES)
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.namelist() == ["response.json", "mask_1.nii.gz", "mask_2.nii.gz"]
        first, second = (loaded(archive.read(name)) for name in archive.namelist()[1:])
    assert np.array_equal(first.dataobj, VOXELS > 5) and second.get_data_dtype() == np.float32


def test_a_mask_on_dicom_has_the_grid_of_the_series() -> None:
    slices = list(phantom.datasets(slices=3, size=8))
    packed_study = io.BytesIO()
    with zipfile.ZipFile(packed_study, "w") as archive:
        for number, dataset in enumerate(slices):
            dataset.save_as(file := io.BytesIO(), enforce_file_format=True)
            archive.writestr(f"{number}", file.getvalue())
    found = loaded(post(packed_study.getvalue(), "/dense", content="application/zip").content)
    ordered = sorted(slices, key=lambda one: float(one.ImagePositionPatient[2]))
    for place, one in enumerate(ordered):
        values = apply_modality_lut(one.pixel_array, one)
        assert np.array_equal(np.asarray(found.dataobj)[..., place].T, values > 5)
        x, y, z = one.ImagePositionPatient
        np.testing.assert_allclose(found.affine @ (0, 0, place, 1), (-x, -y, z, 1), atol=1e-4)
    assert found.shape == (8, 8, 3) != SHAPE
