"""A lesion that a person points at: the connected tissue of like density around a point, and its volume.

It asks twice: for the point, and for the organ, with the region found so far. Copy it as a first interactive model.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from gateway import Ask, Classification, Interactive, Mask, Point, Preview, Progress, Requires, StudyRefused, Volume

ORGANS = ("liver", "spleen", "lung", "another organ")
WINDOW = -160.0, 240.0
"""HU shown as black and as white: soft tissue."""

Tolerance = Annotated[float, Field(ge=1, le=2000, description="HU by which the lesion may differ from the point")]
CT = Annotated[Volume, Requires(modality="CT")]


def measure(ct: CT, tolerance: Tolerance = 100) -> Interactive[list[Mask | Classification]]:
    """Ask for a point of a lesion and its organ; mark the lesion, and return its volume in ml."""
    yield Progress(1, 3, "reading the series")
    yield Preview(picture(ct.array[len(ct.array) // 2]), "the middle slice")
    point: Point = yield Ask("Where is the lesion?", kind="point")
    yield Progress(2, 3, "growing the region")
    lesion = Mask(around(ct.array, point, tolerance), "Lesion")
    organ: str = yield Ask("Which organ is it in?", kind="choice", choices=ORGANS, shown=lesion)
    millilitres = lesion.array.sum() * float(np.prod(ct.spacing)) / 1000
    return [
        Mask(lesion.array, f"Lesion, {organ}"),
        Classification({"organ": organ, "volume_ml": round(millilitres, 1)}),
    ]


def around(array: NDArray[np.float32], point: Point, tolerance: float) -> NDArray[np.bool_]:
    """Return the voxels connected to a point, (slice, row, column), that differ from it by ``tolerance`` HU at most.

    Raises StudyRefused where the point has no value.
    """
    value = array[point.voxel]
    if not np.isfinite(value):
        raise StudyRefused("The image has no value at this point.")
    regions, _ = ndimage.label(np.abs(array - value) <= tolerance)
    found: NDArray[np.bool_] = regions == regions[point.voxel]
    return found


def picture(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a slice in HU as uint8 grey, (row, column)."""
    black, white = WINDOW
    grey: NDArray[np.uint8] = (np.clip((image - black) / (white - black), 0, 1) * 255).astype(np.uint8)
    return grey
