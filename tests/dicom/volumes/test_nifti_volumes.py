"""A NIfTI file becomes a Volume voxel by voxel and millimetre by millimetre, or is refused in words."""

import gzip
import io
import sys
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.nifti1 import Nifti1Image
from scipy.spatial.transform import Rotation

from gateway.contract.execution import RequestContext
from gateway.contract.requests import Request, answering
from gateway.dicom.volumes.nifti_volumes import NiftiVolume
from gateway.errors import LimitExceeded, StudyRefused
from tests.dicom.volumes.nifti_files import (
    DATATYPE,
    DIM,
    OFFSET,
    PIXDIM,
    QFORM,
    SFORM,
    SLOPE,
    UNITS,
    VOXELS,
    big_endian,
    nifti,
    packed,
    pair_header,
    patched,
)

LPS = np.diag([-1.0, -1, 1, 1])


def volume(data: bytes, **options: Any) -> NiftiVolume:
    return NiftiVolume(io.BytesIO(data), **options)


def refused(data: bytes) -> str:
    """Refuse a file, by its header or once its voxels are read; return the sentence."""
    with pytest.raises(StudyRefused) as caught:
        _ = volume(data).array
    return caught.value.detail


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, Nifti1Image]:
    """A file with axes in any directions, and the same image as nibabel reads it."""
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    dtype = draw(st.sampled_from([np.uint8, np.int16, np.int32, np.float32, np.float64]))
    voxels = (np.arange(np.prod(shape)) % 200).reshape(shape).astype(dtype)
    turns = Rotation.from_euler("xyz", draw(st.tuples(*[st.integers(-180, 180)] * 3)), degrees=True).as_matrix()
    signs = draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    affine = np.eye(4)
    affine[:3, :3] = turns[:, draw(st.permutations(range(3)))] * signs * draw(st.tuples(*[st.floats(0.3, 9)] * 3))
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    data = nifti(voxels, affine)
    if draw(st.booleans()):
        data = patched(data, SLOPE, "2f", draw(st.sampled_from([0.5, 2, -3])), draw(st.sampled_from([0, -1024])))
    data = big_endian(data) if draw(st.booleans()) else data
    image = Nifti1Image.from_bytes(data)
    return (packed(data) if draw(st.booleans()) else data), image


@given(files())
@settings(max_examples=60, deadline=None)
def test_every_voxel_keeps_its_value_and_its_millimetre(case: tuple[bytes, Nifti1Image]) -> None:
    data, image = case
    found, theirs = volume(data), np.asarray(image.dataobj)
    indices = np.array(list(np.ndindex(found.shape)))
    points = (LPS @ found.affine @ np.c_[indices, np.ones(len(indices))].T)[:3]
    voxels = np.linalg.solve(image.affine, np.r_[points, np.ones((1, len(indices)))])[:3]
    assert np.abs(voxels - voxels.round()).max() < 1e-3
    assert np.array_equal(found.array.ravel(), theirs[tuple(voxels.round().astype(int))].astype(np.float32))
    assert found.array.flags.c_contiguous and found.array.dtype == np.float32
    assert np.linalg.det(found.affine[:3, :3]) < 0, "never mirrored, as a DICOM series"
    np.testing.assert_allclose(np.sort(found.spacing), np.sort(image.header.get_zooms()), rtol=1e-4)


@pytest.mark.parametrize("axes", ["LPS", "RAS", "LAS", "RPI", "LAI"])
def test_axial_slices_look_as_those_of_dicom_however_a_file_counts(axes: str) -> None:
    image = Nifti1Image.from_bytes(nifti())
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    turned = image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt(axes)))
    found = volume(turned.to_bytes())
    assert np.array_equal(found.array, VOXELS.T)
    np.testing.assert_allclose(found.affine, [[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], atol=1e-6)


def test_values_are_rescaled_and_stored_ones_are_as_sent() -> None:
    found = volume(patched(nifti(), SLOPE, "2f", 2, -10))
    assert np.array_equal(found.array, VOXELS.T * 2 - 10) and np.array_equal(found.stored, VOXELS.T)
    assert found.stored.dtype == np.int16 and volume(big_endian(nifti())).stored.dtype == np.int16


def test_floating_point_of_a_file_in_memory_is_not_copied() -> None:
    values = volume(nifti(VOXELS.astype(np.float32))).array
    assert not values.flags.owndata and not values.flags.writeable


def test_nifti_2_two_axes_and_axes_of_one_are_volumes() -> None:
    assert np.array_equal(volume(packed(nifti(two=True))).array, VOXELS.T)
    assert volume(nifti(VOXELS[:, :, 0])).shape == (1, 3, 4)
    assert volume(nifti(VOXELS[..., None, None])).shape == (2, 3, 4)


@pytest.mark.parametrize(("unit", "size"), [("mm", 1), ("unknown", 1), ("meter", 1000), ("micron", 0.001)])
def test_units_of_space_become_millimetres(unit: str, size: float) -> None:
    assert volume(nifti(unit=unit)).spacing == pytest.approx((size, size, size))


def test_the_coordinates_of_the_scanner_go_before_others() -> None:
    atlas = np.diag([-2.0, -2, 2, 1])
    image = Nifti1Image(VOXELS, atlas)
    image.set_sform(atlas, 4)
    image.set_qform(np.diag([-1.0, -1, 1, 1]), 1)
    found = volume(image.to_bytes())
    assert found.spacing == pytest.approx((1, 1, 1)) and "qform is used" in found.remarks[0]
    image.set_sform(atlas, 1)
    found = volume(image.to_bytes())
    assert found.spacing == pytest.approx((2, 2, 2)) and "sform is used" in found.remarks[0]
    assert not volume(nifti()).remarks
    assert volume(patched(nifti(), SFORM, "h", 0)).spacing == pytest.approx((1, 1, 1))


def test_sizes_that_contradict_the_affine_are_remarked() -> None:
    image = Nifti1Image(VOXELS, np.diag([-2.0, -2, 2, 1]))
    image.header["pixdim"][1:4] = 1
    assert "pixdim" in volume(image.to_bytes()).remarks[0]


def sheared(step: float) -> bytes:
    affine = np.diag([-1.0, -1, 1, 1])
    affine[1, 2] = step
    image = Nifti1Image(VOXELS, affine)
    image.set_sform(affine, 1)
    return bytes(image.to_bytes())


def test_sheared_slices_are_for_models_that_allow_them() -> None:
    assert "sheared" in refused(sheared(0.9))
    found = volume(sheared(0.9), allow_tilt=True)
    assert found.tilt == pytest.approx(41.99, abs=0.01) and "sheared" in found.remarks[-1]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (patched(patched(nifti(), QFORM, "h", 0), SFORM, "h", 0), "left and right"),
        (nifti(np.zeros((2, 2, 2, 3), np.int16)), "time series of 3"),
        (nifti(np.zeros((2, 2, 2, 1, 3), np.int16)), "several values"),
        (nifti(np.zeros((2, 2, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])), "datatype 128"),
        (nifti(np.zeros((2, 2, 2), np.complex64)), "datatype 32"),
        (patched(nifti(), DATATYPE, "h", 999), "broken"),
        (patched(nifti(), DIM, "4h", 3, 4, 3, 0), "three axes"),
        (patched(nifti(), DIM, "4h", 3, 4, -3, 2), "three axes"),
        (patched(nifti(), DIM, "4h", 3, 4, 3, 1), "goes on"),
        (patched(nifti(), DIM, "4h", 3, 4, 3, 3), "ends before"),
        (nifti()[:-1], "ends before"),
        (nifti() + b"\0", "goes on"),
        (packed(nifti() + b"\0"), "goes on"),
        (packed(nifti()[:-1]), "ends before"),
        (packed(nifti())[:-9], "badly packed"),
        (packed(nifti(np.zeros((9, 9, 9), np.int16)))[:-8] + bytes(8), "badly packed"),
        (patched(nifti(), OFFSET, "f", 1e9), "vox_offset"),
        (patched(nifti(), OFFSET, "f", 0), "vox_offset"),
        (patched(nifti(), OFFSET, "f", 16), "broken"),
        (patched(nifti(), UNITS, "b", 7), "unit of space"),
        (patched(nifti(), PIXDIM + 4, "f", float("nan")), "no affine"),
        (pair_header(), "another file"),
        (packed(pair_header()), "another file"),
        (nifti(np.full((2, 2, 2), np.nan, np.float32)), "NaN"),
        (nifti(np.full((2, 2, 2), 1e300)), "NaN"),
        (patched(nifti(), SLOPE, "2f", 1e38, 0), "NaN"),
    ],
)
def test_what_cannot_be_read_for_certain_is_refused_in_words(data: bytes, word: str) -> None:
    if "no affine" in word:
        data = patched(data, SFORM, "h", 0)
    assert word in refused(data)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    context = RequestContext()
    context.max_decoded = 1 << 20
    ends_early = packed(patched(nifti(), DIM, "4h", 3, 1024, 1024, 1024))
    with answering(Request({}, [], "", context=context)), pytest.raises(LimitExceeded, match="max_decoded_bytes"):
        _ = volume(ends_early).array  # which the unpacking would find out
    with pytest.raises(LimitExceeded, match="MAX_VOLUME_BYTES"):
        volume(packed(patched(nifti(), DIM, "4h", 3, 32767, 32767, 32767)))
    more = gzip.compress(nifti() + bytes(16 << 20))
    assert "goes on" in refused(more)


def test_a_model_that_reads_an_attribute_is_refused_by_its_keyword() -> None:
    found = volume(nifti())
    for read in (
        lambda: found.header.PatientAge,
        lambda: found.header.get("PatientAge", "040Y"),
        lambda: "PatientAge" in found.header,
        lambda: found.header[0x00101010],
    ):
        with pytest.raises(StudyRefused, match="PatientAge"):
            read()
    with pytest.raises(StudyRefused, match="modality"):
        _ = found.modality
    with pytest.raises(StudyRefused):
        _ = found.study_instance_uid
    assert volume(nifti(), modality="MR").modality == "MR"


@given(
    st.sampled_from([nifti(), nifti(two=True), packed(nifti()), big_endian(nifti())]),
    st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 800),
)
@settings(max_examples=100, deadline=None)
def test_a_damaged_file_is_read_or_refused_and_never_fails(
    data: bytes, changes: list[tuple[int, int]], length: int
) -> None:
    damaged = bytearray(data)
    for at, value in changes:
        damaged[at % len(damaged)] = value
    with suppress(StudyRefused, LimitExceeded):
        found = volume(bytes(damaged[:length] if length % 3 == 0 else damaged))
        assert np.isfinite(found.affine).all() and np.isfinite(found.array).all()


def test_without_nibabel_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(StudyRefused, match="pip install 'nibabel"):
        volume(nifti())
