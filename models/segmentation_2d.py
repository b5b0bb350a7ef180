"""A heatmap of dense tissue for each image, with a palette of its own. In the plain form."""

from typing import Any, BinaryIO

import numpy as np
from scipy import ndimage

from models.anatomy import body
from models.slices import Slice, read_images

PALETTE = {
    "type": "anchorpoints",
    "data": [
        {"threshold": 0.0, "color": [0, 0, 0, 0]},
        {"threshold": 0.4, "color": [90, 0, 140, 60]},
        {"threshold": 0.7, "color": [240, 90, 30, 170]},
        {"threshold": 1.0, "color": [255, 240, 120, 230]},
    ],
}


def segment(json_input: dict[str, Any], dicom_instances: list[BinaryIO], input_digest: str) -> Any:
    """Answer one heatmap for each image, uint8, (row, column), 0 to 255 for sparse to dense within the body."""
    images = read_images(dicom_instances)
    parts = [
        {
            "label": "Density",
            "binary_type": "heatmap",
            "palette": "density",
            "binary_data_shape": {"height": image.pixels.shape[0], "width": image.pixels.shape[1]},
            "dicom_image": {"SOPInstanceUID": image.header.SOPInstanceUID},
        }
        for image in images
    ]
    answer = {"protocol_version": "1.0", "parts": parts, "palettes": {"density": PALETTE}}
    return answer, [_heat(image) for image in images]


def _heat(image: Slice) -> Any:
    smooth = ndimage.gaussian_filter(image.pixels, 2)
    inside = body(image.pixels)
    if not inside.any():
        return np.zeros(image.pixels.shape, np.uint8)
    low, high = np.percentile(smooth[inside], (2, 98))
    heat = np.clip((smooth - low) / max(high - low, 1e-6), 0, 1) * inside
    return (heat * 255).round().astype(np.uint8)
