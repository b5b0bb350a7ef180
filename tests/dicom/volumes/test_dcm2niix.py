"""A series that dcm2niix has converted is the volume that the gateway makes of its DICOM files, voxel by voxel."""

import gzip
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image
from pydicom import Dataset
from pydicom.data import get_testdata_file

from gateway.dicom.samples import phantom
from gateway.dicom.volumes.nifti import encode_nifti
from gateway.dicom.volumes.nifti_volumes import NiftiVolume
from gateway.dicom.volumes.study import Volume, study
from tests.dicom.studies import AXIAL, image, put
from tests.require import require

DIRECTIONS = {
    "axial": AXIAL,
    "rows upwards": (1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    "columns to the right": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "oblique": (0.8, 0.6, 0.0, -0.36, 0.48, -0.8),
}
STANDARD = ("axial", "coronal", "sagittal")
"""Directions in which DICOM's views run, and to which a NIfTI file is turned."""


def slices(direction: tuple[float, ...]) -> list[Dataset]:
    across, made = np.cross(direction[:3], direction[3:]), []
    for index in range(5):
        origin = [round(float(value), 6) for value in np.array([-9.0, 21.0, 4.0]) + 2.5 * index * across]
        pixels = np.random.default_rng(index).integers(0, 900, (7, 6)).astype(np.int16)
        one = image(
            name=f"{index}",
            number=index + 1,
            origin=origin,
            orientation=direction,
            spacing=(0.75, 0.5),
            size=(7, 6),
            pixels=pixels,
        )
        one.RescaleSlope, one.RescaleIntercept = 1, -50
        made.append(one)
    return made


def converted(folder: Path, out: Path) -> Path:
    """The file that dcm2niix makes of a folder."""
    require(find_spec("dcm2niix"), "dcm2niix is not installed")
    import dcm2niix

    out.mkdir()
    command = [dcm2niix.bin, "-z", "y", "-b", "n", "-f", "scan", "-o", str(out), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (path,) = out.glob("*.nii.gz")
    assert done.returncode == 0, done.stdout
    return path


def of_dicom(folder: Path) -> Volume:
    (series,) = study([folder]).series
    return series.volume()


def values_by_place(volume: Volume) -> dict[tuple[float, ...], float]:
    """The value at each place in mm, to a hundredth."""
    indices = np.array(list(np.ndindex(volume.shape)))
    places = indices @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    return dict(zip(map(tuple, places.round(2) + 0.0), volume.array.ravel().tolist(), strict=True))


@pytest.mark.parametrize("name", DIRECTIONS)
def test_each_place_in_the_patient_has_the_same_value(name: str, tmp_path: Path) -> None:
    for index, dataset in enumerate(slices(DIRECTIONS[name])):
        put(tmp_path / "study", f"{index}.dcm", dataset)
    ours, theirs = of_dicom(tmp_path / "study"), NiftiVolume(converted(tmp_path / "study", tmp_path / "out"))
    assert values_by_place(ours) == values_by_place(theirs)
    if name in STANDARD:
        assert np.array_equal(ours.array, theirs.array)
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)


@pytest.mark.parametrize("source", ["phantom", "scanner"])
def test_a_mask_on_dicom_lies_on_the_voxels_of_dcm2niix(source: str, tmp_path: Path) -> None:
    folder = Path(get_testdata_file("dicomdirtests/98892001/CT5N/2392")).parent
    if source == "phantom":
        phantom.write(folder := tmp_path / "study", slices=6, size=16)
    volume = of_dicom(folder)
    mask: Any = Nifti1Image.from_bytes(gzip.decompress(encode_nifti((volume.array > 40).astype(np.uint8), volume)))
    scan: Any = Nifti1Image.from_filename(converted(folder, tmp_path / "out"))
    indices = np.array([(*index, 1) for index in np.ndindex(mask.shape)]).T
    voxels = np.linalg.solve(scan.affine, mask.affine @ indices)[:3]
    assert np.abs(voxels - voxels.round()).max() < 1e-2
    found = np.asarray(scan.dataobj)[tuple(voxels.round().astype(int))]
    assert np.array_equal(found > 40, np.asarray(mask.dataobj).ravel() == 1)
