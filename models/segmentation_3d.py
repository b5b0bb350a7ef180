"""The body in a CT or MR series as a probability mask; in CT also the air and the bone within it."""

from typing import Any, BinaryIO

import numpy as np
from scipy import ndimage

from models.anatomy import Slice, body, read_images, stack

AIR, BONE = -500, 250
"""HU below which there is air in a body, and above which there is bone."""


def segment(json_input: dict[str, Any], dicom_instances: list[BinaryIO], input_digest: str) -> Any:
    """Answer masks, uint8, (slice, row, column) in spatial order; the probability is 0.5 at the rim of the body."""
    images = stack(read_images(dicom_instances))
    values = np.stack([image.pixels for image in images])
    inside = body(values)
    probability = ndimage.gaussian_filter(inside.astype(np.float32), sigma=(0, 1.5, 1.5))
    parts = [_part(images, "Body", "probability_mask", probability_threshold=0.5)]
    masks = [(probability * 255).round().astype(np.uint8)]
    if images[0].header.get("Modality") == "CT":
        parts.append(_part(images, "Tissue", "numeric_label_mask", label_map={"1": "Air", "2": "Bone"}))
        masks.append((inside * ((values < AIR) + 2 * (values > BONE))).astype(np.uint8))
    return {"protocol_version": "1.0", "parts": parts}, masks


def _part(images: list[Slice], label: str, binary_type: str, **more: Any) -> dict[str, Any]:
    height, width = images[0].pixels.shape
    return {
        "label": label,
        "binary_type": binary_type,
        "binary_data_shape": {"timepoints": 1, "depth": len(images), "height": height, "width": width},
        "SeriesInstanceUID": images[0].header.SeriesInstanceUID,
        **more,
    }
