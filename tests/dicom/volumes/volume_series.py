"""Series made for the tests of volumes: small slices whose values identify them."""

import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

ROWS, COLUMNS = 34, 40
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SPACING = (0.75, 0.5)
STUDY, SERIES, PLACE = (generate_uid(entropy_srcs=[name]) for name in ("study", "series", "frame of reference"))
PATIENT = "Doe^Jane"


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """(3, 3): about x, then y, then z, in degrees."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians([x, y, z])), np.sin(np.radians([x, y, z]))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def stored(index: int) -> np.ndarray:
    """(ROWS, COLUMNS) uint16: no two slices, rows or columns are equal."""
    return (np.arange(ROWS * COLUMNS, dtype="<u2").reshape(ROWS, COLUMNS) + 10 * index).astype("<u2")


def slice_at(position: Sequence[float], index: int = 0, **attributes: Any) -> Dataset:
    """One CT slice; further ``attributes`` by keyword, None to leave one out."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = STUDY, SERIES, PLACE
    dataset.PatientName, dataset.PatientID, dataset.Modality = PATIENT, "MRN-4711", "CT"
    dataset.InstanceNumber = index + 1
    dataset.ImagePositionPatient = [round(float(value), 9) for value in position]
    dataset.ImageOrientationPatient, dataset.PixelSpacing = list(AXIAL), list(SPACING)
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    add_pixels(dataset, stored(index))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def add_pixels(dataset: Dataset, array: np.ndarray) -> None:
    dataset.Rows, dataset.Columns = array.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = 8 * array.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
    dataset.PixelRepresentation = int(array.dtype.kind == "i")
    dataset.PixelData = array.tobytes()


def series(count: int = 5, *, gap: float = 2.5, turn: np.ndarray | None = None, shear: float = 0.0) -> list[Dataset]:
    """Slices along the normal of oblique planes, each shifted by ``shear`` mm from the one before."""
    turn = np.eye(3) if turn is None else turn
    return [
        slice_at(
            np.array([-30.0, 20.0, 5.0]) + index * (gap * turn[:, 2] + shear * turn[:, 1]),
            index,
            ImageOrientationPatient=[round(float(value), 12) for value in (*turn[:, 0], *turn[:, 1])],
        )
        for index in range(count)
    ]


def multi_frame(slices: Sequence[Dataset]) -> Dataset:
    """The slices as frames of one enhanced image, in their order, each with a rescale of its own."""
    first = slices[0]
    dataset = slice_at((0, 0, 0))
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        delattr(dataset, keyword)
    del dataset.RescaleIntercept, dataset.RescaleType
    dataset.SOPClassUID, dataset.NumberOfFrames = EnhancedCTImageStorage, len(slices)
    dataset.PixelData = b"".join(source.PixelData for source in slices)
    dataset.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=list(first.ImageOrientationPatient))],
            PixelMeasuresSequence=[item(PixelSpacing=list(first.PixelSpacing), SliceThickness=2.5)],
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=list(source.ImagePositionPatient))],
            PixelValueTransformationSequence=[item(RescaleSlope=source.InstanceNumber, RescaleIntercept=-7)],
        )
        for source in slices
    ]
    return dataset


def item(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def parts(datasets: Iterable[Dataset]) -> list[io.BytesIO]:
    """Each as a file in memory."""
    files = []
    for dataset in datasets:
        files.append(io.BytesIO())
        dataset.save_as(files[-1], implicit_vr=None, little_endian=None, enforce_file_format=True)
    return files
