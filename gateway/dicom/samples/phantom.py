"""A deterministic CT series of a chest (``anatomy``), for demonstrations and tests.

``SPHERES`` are its ground truth: their centres, radii and Hounsfield units are what a model may be measured against.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from gateway.dicom.samples.anatomy import SPHERES, Plane, Sphere, hounsfield_slice

__all__ = ["HEIGHT_MM", "SPHERES", "WIDTH_MM", "Sphere", "datasets", "write"]

WIDTH_MM, HEIGHT_MM = 360.0, 160.0
"""The field of view in x and y, and the length scanned in z; (0, 0, 0) is its centre."""

INTERCEPT_HU = -1024
"""Stored values are unsigned, of 12 bits, as scanners write them."""

NOISE_HU = 14.0
"""Standard deviation of the noise."""

_FIXED: dict[str, Any] = {
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "StudyDate": "20200101",
    "SeriesDate": "20200101",
    "AcquisitionDate": "20200101",
    "ContentDate": "20200101",
    "StudyTime": "120000",
    "SeriesTime": "120000",
    "AcquisitionTime": "120000",
    "ContentTime": "120000",
    "AccessionNumber": "",
    "Modality": "CT",
    "Manufacturer": "Inference Gateway",
    "ManufacturerModelName": "Phantom",
    "ReferringPhysicianName": "",
    "StudyDescription": "Phantom chest",
    "SeriesDescription": "Axial chest with spheres",
    "PatientName": "Phantom^Chest",
    "PatientID": "PHANTOM",
    "PatientBirthDate": "",
    "PatientSex": "O",
    "BodyPartExamined": "CHEST",
    "KVP": 120,
    "XRayTubeCurrent": 200,
    "ConvolutionKernel": "STANDARD",
    "PatientPosition": "HFS",
    "StudyID": "1",
    "SeriesNumber": 1,
    "AcquisitionNumber": 1,
    "PositionReferenceIndicator": "",
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
    "RescaleIntercept": INTERCEPT_HU,
    "RescaleSlope": 1,
    "RescaleType": "HU",
    "WindowCenter": [40, -500],
    "WindowWidth": [400, 1500],
    "WindowCenterWidthExplanation": ["SOFT TISSUE", "LUNG"],
}


def write(folder: Path, *, slices: int = 64, size: int = 256, study: str = "") -> list[Path]:
    """Write the series into ``folder`` (made if absent): axial, feet to head, the same bytes at each run.

    ``size`` is rows and columns; the field of view stays, so spacing follows. Another ``study`` has other UIDs.
    Returns the files from feet to head.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series = datasets(slices=slices, size=size, study=study)
    return [_save(folder, index, dataset) for index, dataset in enumerate(series, start=1)]


def _save(folder: Path, number: int, dataset: Dataset) -> Path:
    path = folder / f"CT{number:04d}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def datasets(*, slices: int = 64, size: int = 256, study: str = "") -> Iterator[Dataset]:
    """The series as datasets, from feet to head; see ``write``."""
    spacing, gap = WIDTH_MM / size, HEIGHT_MM / slices
    along = (np.arange(size, dtype=np.float32) + 0.5) * spacing - WIDTH_MM / 2
    x, y = along[None, :], along[:, None]
    for index in range(slices):
        z = (index + 0.5) * gap - HEIGHT_MM / 2
        hounsfield = hounsfield_slice(x, y, z, spacing) + _noise(index, size)
        stored = np.clip(np.rint(hounsfield) - INTERCEPT_HU, 0, 4095).astype("<u2")
        yield _dataset(stored, index, (float(along[0]), float(along[0]), z), spacing, gap, study)


def _noise(seed: int, size: int) -> Plane:
    """(size, size) float32 HU, nearly Gaussian: four uniform numbers summed.

    Raw words of a bit generator are what numpy promises never to change (NEP 19); its normal distribution is not.
    """
    words = np.random.PCG64(seed).random_raw(size * size).astype("<u8")
    summed = words.view("<u2").reshape(size, size, 4).sum(axis=-1, dtype=np.int64)
    return np.asarray((summed - 2 * 65535) * (NOISE_HU / (65536 / np.sqrt(3))), np.float32)


def _dataset(
    stored: NDArray[np.uint16], index: int, origin: tuple[float, float, float], spacing: float, gap: float, study: str
) -> Dataset:
    """A CT image (PS3.3 A.3.3); its UIDs depend on ``study`` and the shape of the series alone."""
    dataset = Dataset()
    for keyword, value in _FIXED.items():
        setattr(dataset, keyword, value)
    series = f"phantom{study} {stored.shape} {gap}"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(dataset, keyword, generate_uid(entropy_srcs=[series, keyword]))
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[series, str(index)])
    dataset.InstanceNumber = index + 1
    dataset.ImagePositionPatient = [round(value, 5) for value in origin]
    dataset.SliceLocation = round(origin[2], 5)
    dataset.PixelSpacing = [round(spacing, 5)] * 2
    dataset.SliceThickness = dataset.SpacingBetweenSlices = round(gap, 5)
    dataset.Rows, dataset.Columns = stored.shape
    dataset.PixelData = stored.tobytes()
    dataset.file_meta = _file_meta(dataset)
    return dataset


def _file_meta(dataset: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    return meta
