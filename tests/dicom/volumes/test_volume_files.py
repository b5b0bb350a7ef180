"""Every file of pydicom's own test set goes through the loader: a volume, an image, an attachment, or a refusal."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom import Dataset

from gateway.dicom.decoding.pixels import decode
from gateway.dicom.decoding.windows import rescale
from gateway.dicom.reading.deflated import inflated
from gateway.dicom.reading.elements import Uncommon
from gateway.dicom.reading.fast_headers import find_pixels, pixels_at, read
from gateway.dicom.reading.files import read_header, refusing
from gateway.dicom.reading.geometry import to_patient
from gateway.dicom.reading.instances import Instance, describe, group_by_series, read_instance
from gateway.dicom.volumes.study import Image, Volume, image, split, volume
from gateway.errors import GatewayError, LimitExceeded, StudyRefused

SET = Path(pydicom.__file__).parent / "data"
FILES = sorted(path for path in SET.rglob("*") if path.is_file())
DICOM = [path for path in FILES if path.read_bytes()[128:132] == b"DICM"]
REFUSALS = (StudyRefused, LimitExceeded)


def name(path: Path) -> str:
    return str(path.relative_to(SET))


def loaded(instance: Instance) -> list[Volume | Image]:
    """The decoded image or volume of one instance."""
    made: list[Volume | Image] = []
    for make in (lambda: volume([instance]), lambda: image(instance)):
        try:
            found = make()
            found.array.sum()
        except REFUSALS as refusal:
            assert refusal.detail.endswith(".")
        else:
            made.append(found)
    return made


def expected(instance: Instance) -> np.ndarray:
    """The first frame by way of pydicom's decoder, in float64."""
    return rescale(instance.header, decode(instance.source, 0).astype(np.float64))


@pytest.mark.heavy
@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_is_loaded_with_the_values_of_pydicom_or_refused_with_a_sentence(path: Path) -> None:
    try:
        instances, attachments = split([path])
    except REFUSALS as refusal:
        assert refusal.detail
        return
    assert len(instances) + len(attachments) <= 1
    for found in [made for instance in instances for made in loaded(instance)]:
        if found.array.dtype == np.float32:
            first = found.array[0] if isinstance(found, Volume) else found.array
            assert np.allclose(first, expected(instances[0]), rtol=1e-6, equal_nan=True)


@pytest.mark.heavy
def test_most_of_the_images_are_loaded() -> None:
    made = [loaded(instance) for path in FILES for instance in _split(path) if instance.frames]
    assert sum(bool(one) for one in made) > 0.85 * len(made) > 60


@pytest.mark.parametrize("path", DICOM, ids=name)
def test_a_header_read_quickly_is_the_header_that_pydicom_reads(path: Path) -> None:
    quick, slow = _quickly(path), _slowly(path)
    if quick is None or slow is None:
        return
    assert list(quick.keys()) == list(slow.keys())
    assert quick == slow
    assert quick.file_meta == slow.file_meta
    assert quick.original_encoding == slow.original_encoding
    assert quick.original_character_set == slow.original_character_set
    with path.open("rb") as file:
        assert read(file)[1] == (pixels := find_pixels(file))
        twin = inflated(file)
        read_header(twin)
        assert pixels is not None
        assert pixels.at == twin.tell()


def test_most_headers_of_images_can_be_read_quickly() -> None:
    assert sum(_quickly(path) is not None for path in DICOM) > 85


@pytest.mark.parametrize("path", DICOM, ids=name)
def test_an_instance_read_quickly_is_the_instance_that_is_read_with_care(path: Path) -> None:
    try:
        slow = _with_care(path)
    except GatewayError as refusal:
        with pytest.raises(type(refusal)):
            read_instance(path)
        return
    quick = read_instance(path)
    for field in ("sop_instance_uid", "series_instance_uid", "instance_number", "rows", "columns", "frames"):
        assert getattr(quick, field) == getattr(slow, field), field
    assert np.array_equal(quick.position, slow.position)
    assert np.array_equal(quick.orientation, slow.orientation)


def test_real_series_have_the_geometry_of_simpleitk() -> None:
    compared = 0
    for instances in group_by_series(split([SET / "test_files" / "dicomdirtests"])[0]).values():
        try:
            ours = volume(instances)
        except StudyRefused:
            continue
        theirs = _simpleitk([instance.source for instance, _ in ours.frames])
        assert np.array_equal(SimpleITK.GetArrayFromImage(theirs), ours.array)
        for index in [(0, 0, 0), (len(ours.frames) - 1, 15, 0), (0, 15, 15)]:
            place = theirs.TransformIndexToPhysicalPoint(index[::-1])
            assert np.abs(to_patient(ours.affine, index) - place).max() < 1e-4
        compared += len(ours.frames)
    assert compared >= 9


def _split(path: Path) -> list[Instance]:
    try:
        return split([path])[0]
    except StudyRefused as refusal:
        assert "sha256 begins with" in refusal.detail
        return []


def _simpleitk(files: list[Any]) -> SimpleITK.Image:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in files])
    return reader.Execute()


def _with_care(path: Path) -> Instance:
    with path.open("rb") as file, refusing("broken"):
        header = read_header(file)
        return describe(path, header, pixels_at(file, header))


def _quickly(path: Path) -> Dataset | None:
    try:
        with refusing("broken"):
            return _read(path)
    except StudyRefused:
        return None


def _read(path: Path) -> Dataset | None:
    try:
        return read(io.BytesIO(path.read_bytes()))[0]
    except Uncommon:
        return None


def _slowly(path: Path) -> Dataset | None:
    try:
        return read_header(io.BytesIO(path.read_bytes()))
    except StudyRefused:
        return None
