"""A box around the body on each image, and its widest extent on the image where it is largest."""

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from models.anatomy import body, read_images


def find_boxes(json_input: dict[str, Any], dicom_instances: list[BinaryIO], input_digest: str) -> Any:
    """Answer boxes and one measurement in pixels, (column, row)."""
    found = [(image.header.SOPInstanceUID, body(image.pixels)) for image in read_images(dicom_instances)]
    found = [(uid, mask) for uid, mask in found if mask.any()]
    answer: dict[str, Any] = {
        "protocol_version": "1.0",
        "parts": [],
        "bounding_boxes_2d": [_box(uid, mask) for uid, mask in found],
    }
    if found:
        answer["linear_measurements_2d"] = [_widest(*max(found, key=lambda pair: pair[1].sum()))]
    return answer, []


def _box(uid: str, mask: NDArray[np.bool_]) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return {
        "label": "Body",
        "SOPInstanceUID": uid,
        "top_left": [int(columns[0]), int(rows[0])],
        "bottom_right": [int(columns[-1]), int(rows[-1])],
    }


def _widest(uid: str, mask: NDArray[np.bool_]) -> dict[str, Any]:
    first, last = mask.argmax(axis=1), mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
    row = int(np.argmax(np.where(mask.any(axis=1), last - first, -1)))
    return {
        "label": "Widest extent",
        "SOPInstanceUID": uid,
        "coordinates_type": "pixel",
        "start": [int(first[row]), row],
        "end": [int(last[row]), row],
    }
