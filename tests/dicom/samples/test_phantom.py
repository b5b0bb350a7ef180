"""The phantom is a valid CT series, the same at each run, with its spheres at the stated positions."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.dicom.decoding.pixels import decode
from gateway.dicom.decoding.windows import rescale
from gateway.dicom.reading.geometry import affine, spacing, to_index, to_patient
from gateway.dicom.reading.instances import Instance, read_study, sort_spatially
from gateway.dicom.samples import phantom
from gateway.dicom.samples.phantom import HEIGHT_MM, INTERCEPT_HU, NOISE_HU, SPHERES, WIDTH_MM, Sphere
from tests.require import require

Array = np.ndarray[Any, Any]
Series = tuple[list[Instance], Array]

EACH_SPHERE = pytest.mark.parametrize("sphere", SPHERES, ids=lambda sphere: f"{sphere.radius:.0f} mm")


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    """Its sorted instances, and (slice, row, column) HU; slices thin enough for the smallest sphere."""
    folder = tmp_path_factory.mktemp("phantom")
    phantom.write(folder, slices=96, size=256)
    ordered = sort_spatially(read_study(folder))
    return ordered, np.stack([rescale(one.header, decode(one.source)) for one in ordered])


@pytest.fixture(scope="module")
def positions(series: Series) -> Array:
    """(slice, row, column, axis) mm of each voxel, float32."""
    indices = np.stack(np.meshgrid(*map(np.arange, series[1].shape), indexing="ij"), axis=-1)
    return np.asarray(to_patient(affine(series[0]), indices), np.float32)


def distances(positions: Array, sphere: Sphere) -> Array:
    """mm from the centre of the sphere to each voxel."""
    return np.asarray(np.linalg.norm(positions - np.float32(sphere.centre), axis=-1))


def background(away: Array, hounsfield: Array, sphere: Sphere) -> float:
    """HU of the tissue in which the sphere lies."""
    return float(np.median(hounsfield[(away > sphere.radius + 2) & (away < sphere.radius + 4)]))


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    first, again = (phantom.write(tmp_path / run, slices=4, size=64) for run in ("first", "again"))
    assert [path.name for path in first] == [path.name for path in again] == [f"CT{n:04d}.dcm" for n in (1, 2, 3, 4)]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


def test_slices_of_one_series_differ_and_another_shape_is_another_series() -> None:
    small, large = list(phantom.datasets(slices=3, size=32)), list(phantom.datasets(slices=3, size=64))
    assert len({one.SOPInstanceUID for one in [*small, *large]}) == 6
    assert len({one.SeriesInstanceUID for one in small}) == 1
    assert small[0].SeriesInstanceUID != large[0].SeriesInstanceUID
    assert small[0].PixelData != small[2].PixelData


def test_another_study_has_other_uids_and_the_same_pixels() -> None:
    series = [list(phantom.datasets(slices=3, size=32, study=study)) for study in ("", "a", "b")]
    for keyword, count in (("StudyInstanceUID", 3), ("SeriesInstanceUID", 3), ("SOPInstanceUID", 9)):
        assert len({one[keyword].value for datasets in series for one in datasets}) == count
    assert len({one.PixelData for datasets in series for one in datasets}) == 3


def test_files_are_ordered_from_feet_to_head(tmp_path: Path) -> None:
    written = phantom.write(tmp_path / "made" / "for it", slices=5, size=32)
    assert [one.source for one in sort_spatially(read_study(tmp_path))] == written


@pytest.mark.parametrize(("slices", "size"), [(8, 64), (5, 48)])
def test_its_geometry_is_even_and_centred(slices: int, size: int, tmp_path: Path) -> None:
    phantom.write(tmp_path, slices=slices, size=size)
    ordered = sort_spatially(read_study(tmp_path))
    np.testing.assert_allclose(
        spacing(affine(ordered)), (HEIGHT_MM / slices, WIDTH_MM / size, WIDTH_MM / size), rtol=1e-5
    )
    middle = (np.array([slices, size, size]) - 1) / 2
    np.testing.assert_allclose(to_patient(affine(ordered), middle), (0, 0, 0), atol=1e-4)


@EACH_SPHERE
def test_a_sphere_has_the_stated_position_and_hounsfield_units(
    series: Series, positions: Array, sphere: Sphere
) -> None:
    away, hounsfield = distances(positions, sphere), series[1]
    inside = hounsfield[away < sphere.radius - 2]
    assert len(inside) >= 8
    assert inside.mean() == pytest.approx(sphere.hounsfield, abs=4 * NOISE_HU / np.sqrt(len(inside)) + 1)
    assert abs(background(away, hounsfield, sphere) - sphere.hounsfield) > 10 * NOISE_HU


@EACH_SPHERE
def test_a_sphere_has_the_stated_size(series: Series, positions: Array, sphere: Sphere) -> None:
    away, hounsfield = distances(positions, sphere), series[1]
    near = away < sphere.radius + 1.5
    around = background(away, hounsfield, sphere)
    share = (hounsfield[near] - around) / (sphere.hounsfield - around)
    volume = share.sum() * spacing(affine(series[0])).prod()
    assert volume == pytest.approx(4 / 3 * np.pi * sphere.radius**3, rel=0.15)


@EACH_SPHERE
def test_the_voxel_at_the_centre_of_a_sphere_belongs_to_it(series: Series, sphere: Sphere) -> None:
    index = tuple(np.rint(to_index(affine(series[0]), sphere.centre)).astype(int))
    assert series[1][index] == pytest.approx(sphere.hounsfield, abs=5 * NOISE_HU)


def test_the_noise_has_the_stated_strength(series: Series, positions: Array) -> None:
    blood = series[1][distances(positions, Sphere((22.0, -34.0, -34.0), 20, 120)) < 20]
    assert blood.std() == pytest.approx(NOISE_HU, rel=0.05)


def test_stored_values_are_of_twelve_bits() -> None:
    for dataset in phantom.datasets(slices=4, size=64):
        assert dataset.pixel_array.max() < 4096 and dataset.RescaleIntercept == INTERCEPT_HU


def test_dciodvfy_finds_no_error(tmp_path: Path) -> None:
    require(shutil.which("dciodvfy"), "dciodvfy of dicom3tools is not installed")
    for path in phantom.write(tmp_path, slices=3, size=32):
        told = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        assert "CTImage" in told.stderr
        assert [line for line in told.stderr.splitlines() if line.startswith("Error")] == []


def test_its_slices_are_one_valid_series_to_dcentvfy(tmp_path: Path) -> None:
    require(shutil.which("dcentvfy"), "dcentvfy of dicom3tools is not installed")
    paths = [str(path) for path in phantom.write(tmp_path, slices=3, size=32)]
    told = subprocess.run(["dcentvfy", *paths], capture_output=True, text=True, check=False)
    assert told.returncode == 0 and "Error" not in told.stderr + told.stdout
