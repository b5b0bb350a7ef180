"""Small studies made for one test: every image one grey, so that whatever is drawn on it shows as colour."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1, 0, 0, 0, 1, 0)
SIZE = 16
GREY = 100


def uid(*sources: object) -> str:
    """The same UID for the same words."""
    return str(generate_uid(entropy_srcs=[repr(sources)]))


def image(
    *,
    name: str = "image",
    series: str = "series",
    number: int = 1,
    z: float | None = 0.0,
    size: tuple[int, int] = (SIZE, SIZE),
    frames: int = 1,
    orientation: Sequence[float] = AXIAL,
    origin: Sequence[float] | None = None,
    spacing: Sequence[float] | None = (1.0, 1.0),
    pixels: Any = None,
) -> Dataset:
    """A CT image of one grey; without ``z`` it has no place in the patient."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, uid(series, name)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid("study"), uid(series)
    dataset.Modality, dataset.InstanceNumber = "CT", number
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "1"
    if z is not None:
        dataset.ImagePositionPatient = list(origin if origin is not None else (0.0, 0.0, z))
        dataset.ImageOrientationPatient = list(orientation)
    if spacing is not None:
        dataset.PixelSpacing = list(spacing)
    dataset.Rows, dataset.Columns = size
    dataset.NumberOfFrames = frames
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = 127.5, 255, "LINEAR_EXACT"
    stored = np.full((frames, *size), GREY) if pixels is None else np.asarray(pixels)
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def put(folder: Path, file_name: str, dataset: Dataset) -> str:
    """Write an image under a name; returns its SOP Instance UID."""
    folder.mkdir(parents=True, exist_ok=True)
    dataset.save_as(folder / file_name, enforce_file_format=True)
    return str(dataset.SOPInstanceUID)


def stack(folder: Path, names: Sequence[str], *, series: str = "series", times: int = 1) -> None:
    """One file for each name, from feet to head; ``times`` over at the same places."""
    for index, name in enumerate(names):
        number, slices = len(names) - index, len(names) // times
        number = number if times == 1 else index + 1
        put(folder, name, image(name=name, series=series, number=number, z=2.0 * (index % slices)))


def colours(png: Path, size: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray[Any, Any]:
    """(row, column, 3): the colour of a picture at the centre of each pixel of its image."""
    picture = np.asarray(Image.open(png))
    step = picture.shape[0] // size[0]
    return picture[step // 2 :: step, step // 2 :: step]


def tinted(png: Path, size: tuple[int, int] = (SIZE, SIZE)) -> set[tuple[int, int]]:
    """(row, column) of every coloured pixel above the lowest three rows, which have the legend."""
    pixels = np.argwhere(np.ptp(colours(png, size)[: size[0] - 3].astype(int), axis=-1) > 0)
    return {(int(row), int(column)) for row, column in pixels}
