"""A box around the body on each image, and its widest extent on the image where it is largest."""

import numpy as np
from numpy.typing import NDArray

from gateway import BoundingBox, Image, LinearMeasurement
from models.anatomy import body, brightness

Mask = NDArray[np.bool_]


def find_boxes(images: list[Image]) -> list[BoundingBox | LinearMeasurement]:
    """Find the body on each image; one without a body has no box."""
    found = [(image, body(brightness(image))) for image in images]
    found = [(image, mask) for image, mask in found if mask.any()]
    boxes: list[BoundingBox | LinearMeasurement] = [_box(image, mask) for image, mask in found]
    return [*boxes, _widest(*max(found, key=lambda pair: pair[1].sum()))] if found else []


def _box(image: Image, mask: Mask) -> BoundingBox:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top_left, bottom_right = (int(columns[0]), int(rows[0])), (int(columns[-1]), int(rows[-1]))
    return BoundingBox("Body", top_left, bottom_right, of=image)


def _widest(image: Image, mask: Mask) -> LinearMeasurement:
    first, last = mask.argmax(axis=1), mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
    row = int(np.argmax(np.where(mask.any(axis=1), last - first, -1)))
    return LinearMeasurement("Widest extent", (int(first[row]), row), (int(last[row]), row), of=image)
