"""A number that is present and unreadable is refused by keyword, tag and instance; it never counts as absent."""

import hashlib
import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import RTDoseStorage

from gateway.dicom.decoding.pixels import convert_monochrome_1to2, to_rgb
from gateway.dicom.reading import attributes, raw_values
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.volumes.study import Image, Study, image, study
from gateway.errors import StudyRefused
from tests.dicom.volumes.volume_series import multi_frame, series, slice_at, stored

SECRET = "7319"
NO_NUMBERS = [b"-1024,0", b"abc", b"NaN", b"inf", b"-1024 HU", b"1_0", b"\\", b"1\\", b"0x10"]
"""What is no decimal string (PS3.5 6.2), all of them found in files or read as numbers by Python alone."""


def raw(dataset: Dataset, keyword: str, data: bytes, vr: str = "DS") -> Dataset:
    """The dataset with exactly these bytes as the value of an attribute."""
    key, padded = Tag(keyword), data + b" " * (len(data) % 2)
    dataset[key] = RawDataElement(key, vr, len(padded), padded, 0, False, True)
    return dataset


def patched(dataset: Dataset, keyword: str, data: bytes) -> bytes:
    """The file of a dataset with these bytes as a value that pydicom would not write."""
    key, written, padded = Tag(keyword), convert_dataset_to_bytes(dataset), data + b" " * (len(data) % 2)
    at = written.index(struct.pack("<HH", key.group, key.element) + dataset[keyword].VR.encode())
    (length,) = struct.unpack_from("<H", written, at + 6)
    return written[: at + 6] + struct.pack("<H", len(padded)) + padded + written[at + 8 + length :]


def read(*files: Dataset | bytes) -> Study:
    return study([io.BytesIO(one if isinstance(one, bytes) else convert_dataset_to_bytes(one)) for one in files])


def refusal(ask: Callable[[], object], keyword: str, *, of: Dataset | bytes | None = None) -> str:
    """The sentence of a refusal, which names the attribute, and the instance by its digest."""
    with pytest.raises(StudyRefused) as caught:
        ask()
    detail, key = caught.value.detail, Tag(keyword)
    assert f"{keyword} ({key.group:04X},{key.element:04X})" in detail
    if of is not None:
        file = of if isinstance(of, bytes) else convert_dataset_to_bytes(of)
        assert detail.count(hashlib.sha256(file).hexdigest()[:16]) == 1
    return detail


def values_of(study: Study) -> list[np.ndarray]:
    """The series as one volume, and as images."""
    only = study.series[0]
    return [only.volume().array, np.stack([image(one).array for one in only.instances])]


def first_image(dataset: Dataset | bytes) -> Image:
    return image(read(dataset).series[0].instances[0])


@pytest.mark.parametrize("data", NO_NUMBERS)
@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_rescale_that_is_no_number_is_refused_before_a_pixel_is_decoded(keyword: str, data: bytes) -> None:
    slices = series()
    raw(slices[3], keyword, data)
    found = read(*slices).series[0]
    refusal(found.volume, keyword, of=slices[3])
    refusal(lambda: image(found.instances[3]).array, keyword, of=slices[3])


@pytest.mark.parametrize("data", [b"0", b"0.0", b"1\\1"])
def test_a_slope_that_is_no_single_factor_is_refused(data: bytes) -> None:
    slices = [raw(one, "RescaleSlope", data) for one in series()]
    refusal(read(*slices).series[0].volume, "RescaleSlope", of=slices[0])


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("lacking", [slice(2, 3), slice(None)], ids=["one", "all"])
@pytest.mark.parametrize("empty", [False, True], ids=["absent", "empty"])
def test_half_a_rescale_is_refused(keyword: str, lacking: slice, empty: bool) -> None:
    slices = series()
    for one in slices[lacking]:
        if empty:
            setattr(one, keyword, None)
        else:
            delattr(one, keyword)
    found = read(*slices).series[0]
    refusal(found.volume, keyword)
    refusal(lambda: image(found.instances[2]).array, keyword, of=slices[2])


def test_one_slice_without_the_rescale_of_its_series_is_refused() -> None:
    slices = series()
    del slices[2].RescaleSlope, slices[2].RescaleIntercept
    refusal(read(*slices).series[0].volume, "RescaleSlope", of=slices[2])


def test_a_series_without_any_rescale_has_its_stored_values() -> None:
    slices = series()
    for one in slices:
        del one.RescaleSlope, one.RescaleIntercept
    for found in values_of(read(*slices)):
        np.testing.assert_array_equal(found, [stored(index) for index in range(len(slices))])


@pytest.mark.parametrize(
    ("slope", "intercept", "right"),
    [(b"2", b"-1024", (2, -1024)), (b" +0.5 ", b"1E2", (0.5, 100)), (b"-1", b"0", (-1, 0)), (b"1.", b".5", (1, 0.5))],
)
def test_a_rescale_as_the_standard_writes_it_is_applied(
    slope: bytes, intercept: bytes, right: tuple[float, float]
) -> None:
    slices = [raw(raw(one, "RescaleSlope", slope), "RescaleIntercept", intercept) for one in series()]
    for found in values_of(read(*slices)):
        np.testing.assert_allclose(
            found, np.stack([stored(index) for index in range(5)]).astype(float) * right[0] + right[1]
        )


@pytest.mark.parametrize("data", [*NO_NUMBERS, b"", b"0"])
def test_a_scaling_of_a_dose_that_is_no_factor_is_refused(data: bytes) -> None:
    dose = raw(slice_at((0, 0, 0), SOPClassUID=RTDoseStorage), "DoseGridScaling", data)
    del dose.RescaleSlope, dose.RescaleIntercept
    refusal(lambda: first_image(dose).array, "DoseGridScaling", of=dose)
    refusal(read(dose).series[0].volume, "DoseGridScaling", of=dose)


def test_a_dose_without_scaling_is_refused_and_another_image_is_not() -> None:
    dose = slice_at((0, 0, 0), SOPClassUID=RTDoseStorage, RescaleSlope=None, RescaleIntercept=None)
    refusal(lambda: first_image(dose).array, "DoseGridScaling", of=dose)
    assert first_image(slice_at((0, 0, 0))).array is not None


@pytest.mark.parametrize("data", [*NO_NUMBERS, b"0\\0", b"-1\\1", b"0.5", b"0.5\\0.5\\0.5"])
def test_a_pixel_spacing_that_is_no_size_is_refused(data: bytes) -> None:
    slices = series()
    raw(slices[1], "PixelSpacing", data)
    found = read(*slices).series[0]
    refusal(found.volume, "PixelSpacing", of=slices[1])
    for ask in (lambda: image(found.instances[1]).spacing, lambda: image(found.instances[1]).affine):
        refusal(ask, "PixelSpacing", of=slices[1])


@pytest.mark.parametrize("keyword", ["SliceThickness", "SpacingBetweenSlices"])
@pytest.mark.parametrize("data", NO_NUMBERS)
def test_a_thickness_that_is_no_number_is_refused_for_one_slice(keyword: str, data: bytes) -> None:
    only = raw(slice_at((0, 0, 0)), keyword, data)
    refusal(lambda: first_image(only).affine, keyword, of=only)
    refusal(read(only).series[0].volume, keyword, of=only)


@pytest.mark.parametrize("keyword", ["SliceThickness", "SpacingBetweenSlices"])
def test_an_empty_thickness_is_an_absent_one(keyword: str) -> None:
    empty = raw(slice_at((0, 0, 0)), keyword, b"")
    np.testing.assert_array_equal(first_image(empty).affine, first_image(slice_at((0, 0, 0))).affine)


@pytest.mark.parametrize(
    ("keyword", "data"),
    [
        *(("ImagePositionPatient", data) for data in (*NO_NUMBERS, b"1\\2", b"1\\2\\3\\4", b"0\\0\\1,5")),
        *(("ImageOrientationPatient", data) for data in (*NO_NUMBERS, b"1\\0\\0\\0\\1", b"1\\0\\0\\0\\1\\x")),
        *(("NumberOfFrames", data) for data in (b"abc", b"2.5", b"1\\1", b"-3", b"1,0")),
        *((keyword, data) for keyword in ("Rows", "Columns") for data in (b"", b"\1\0\1\0")),
    ],
)
def test_a_size_or_a_place_that_is_unreadable_refuses_the_file(keyword: str, data: bytes) -> None:
    broken = patched(slice_at((0, 0, 0), NumberOfFrames=1), keyword, data)
    refusal(lambda: read(slice_at((0, 0, 1)), broken), keyword, of=broken)


LAYOUT = ["BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"]


@pytest.mark.parametrize("keyword", LAYOUT)
@pytest.mark.parametrize("data", [b"", b"\1\0\1\0"])
def test_a_layout_of_pixels_that_is_unreadable_is_refused(keyword: str, data: bytes) -> None:
    broken = patched(slice_at((0, 0, 0)), keyword, data)
    refusal(lambda: first_image(broken).array, keyword, of=broken)
    refusal(lambda: first_image(broken).stored, keyword, of=broken)


@pytest.mark.parametrize(
    ("macro", "keyword", "data"),
    [
        ("PixelValueTransformationSequence", "RescaleIntercept", b"-1024,0"),
        ("PixelValueTransformationSequence", "RescaleSlope", b""),
        ("PlanePositionSequence", "ImagePositionPatient", b"0\\0\\x"),
        ("PixelMeasuresSequence", "PixelSpacing", b"0,5\\0,5"),
    ],
)
def test_a_number_in_a_functional_group_is_judged_as_one_in_the_header(macro: str, keyword: str, data: bytes) -> None:
    dataset = multi_frame(series())
    groups = [*dataset.PerFrameFunctionalGroupsSequence, *dataset.SharedFunctionalGroupsSequence]
    raw([one for one in groups if macro in one][-1][macro][0], keyword, data)
    refusal(lambda: read(dataset).series[0].volume(), keyword, of=dataset)


def test_a_macro_without_an_item_is_refused() -> None:
    dataset = multi_frame(series())
    dataset.PerFrameFunctionalGroupsSequence[2].PixelValueTransformationSequence = []
    refusal(lambda: read(dataset).series[0].volume(), "PixelValueTransformationSequence", of=dataset)


@pytest.mark.parametrize("keyword", ["WindowCenter", "WindowWidth"])
@pytest.mark.parametrize("data", NO_NUMBERS)
def test_a_window_that_is_no_number_is_refused(keyword: str, data: bytes) -> None:
    one = slice_at((0, 0, 0), WindowCenter=40, WindowWidth=400)
    refusal(lambda: to_rgb(raw(one, keyword, data), stored(0)), keyword)


def test_the_first_of_several_windows_counts_and_an_empty_one_is_absent() -> None:
    one = slice_at((0, 0, 0), WindowCenter=40, WindowWidth=400)
    plain = to_rgb(one, stored(0))
    several = raw(raw(slice_at((0, 0, 0)), "WindowCenter", b"40\\300"), "WindowWidth", b"400\\2000")
    empty = raw(raw(slice_at((0, 0, 0)), "WindowCenter", b""), "WindowWidth", b"")
    np.testing.assert_array_equal(to_rgb(several, stored(0)), plain)
    np.testing.assert_array_equal(to_rgb(empty, stored(0)), to_rgb(slice_at((0, 0, 0)), stored(0)))


def test_an_inverted_image_with_an_unreadable_rescale_is_not_converted() -> None:
    one = raw(slice_at((0, 0, 0), PhotometricInterpretation="MONOCHROME1"), "RescaleSlope", b"1,5")
    refusal(lambda: convert_monochrome_1to2(one), "RescaleSlope")


def test_a_number_that_only_sorts_counts_as_absent_when_unreadable() -> None:
    found = read(patched(slice_at((0, 0, 0)), "InstanceNumber", b"no. 1"))
    assert found.instances[0].instance_number is None


def test_no_refusal_quotes_the_value() -> None:
    for keyword in ("RescaleSlope", "PixelSpacing", "ImagePositionPatient"):
        one = raw(slice_at((0, 0, 0)), keyword, f"{SECRET}^Doe".encode())
        assert SECRET not in refusal(lambda one=one: read(one).series[0].volume(), keyword)


@given(st.binary(max_size=16), st.sampled_from(["DS", "IS", "LO", "UN"]))
def test_both_readers_of_a_number_agree_on_any_bytes(data: bytes, vr: str) -> None:
    quick = outcome(lambda: raw_values.number(raw(Dataset(), "RescaleSlope", data, vr), "RescaleSlope"))
    slow = outcome(lambda: attributes.number(raw(Dataset(), "RescaleSlope", data, vr), "RescaleSlope"))
    assert quick == slow


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_that_is_written_is_the_number_that_is_read(number: float) -> None:
    for reader in (raw_values.number, attributes.number):
        assert reader(raw(Dataset(), "RescaleSlope", repr(number).encode()), "RescaleSlope") == number


def outcome(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except StudyRefused:
        return StudyRefused
