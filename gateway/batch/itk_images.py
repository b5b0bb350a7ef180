"""Images of ITK's formats as arrays: MetaImage and TIFF, read and written by SimpleITK (the extra ``itk``)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.errors import StudyRefused
from gateway.extras import hint


@dataclass(frozen=True, eq=False)
class ItkImage:
    """An image: (slice, row, column), (row, column) or (row, column, 3), and its geometry.

    ``spacing``, ``origin`` and ``direction`` are ITK's own: x first, mm in the patient (LPS), the direction row by row.
    """

    array: NDArray[Any]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4): index (slice, row, column, 1) -> patient (x, y, z, 1) mm LPS; of an image in three dimensions."""
        steps = np.reshape(self.direction, (3, 3)) * self.spacing
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = steps[:, ::-1], self.origin
        return matrix


def read_image(path: Path) -> ItkImage:
    """Read an image. Raises StudyRefused for a broken file or one without a grid, ImportError without SimpleITK."""
    itk = _library()
    try:
        image = itk.ReadImage(str(path))
    except RuntimeError as error:  # all that SimpleITK raises
        raise StudyRefused(f"{path.name} cannot be read as an image.", private="SimpleITK") from error
    array = itk.GetArrayFromImage(image)
    if image.GetDimension() == 3 and image.GetSize()[2] == 1 and image.GetNumberOfComponentsPerPixel() > 1:
        array = array[0]
    fits = array.ndim in (2, 3) and (array.ndim == 3 or image.GetDimension() == 2)
    if not fits or (image.GetNumberOfComponentsPerPixel() > 1 and array.shape[-1] != 3):
        raise StudyRefused(f"{path.name} is neither a volume nor a picture in grey or RGB.")
    return ItkImage(array, image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def write_image(array: NDArray[Any], like: ItkImage, path: Path) -> None:
    """Write an array of the axes of ``like`` as a compressed MetaImage with its geometry. Raises ImportError."""
    itk = _library()
    image = itk.GetImageFromArray(np.ascontiguousarray(array))
    if image.GetDimension() == len(like.spacing):
        image.SetSpacing(like.spacing)
        image.SetOrigin(like.origin)
        image.SetDirection(like.direction)
    path.parent.mkdir(parents=True, exist_ok=True)
    itk.WriteImage(image, str(path), True)


def _library() -> Any:
    try:
        import SimpleITK
    except ImportError as error:
        raise ImportError(f"images of grand-challenge need SimpleITK; {hint('itk')}") from error
    return SimpleITK
