"""The body in a CT or MR series, as one probability mask over the volume."""

from typing import Any, BinaryIO

import numpy as np
from scipy import ndimage

from models.anatomy import body, read_images, stack


def segment(json_input: dict[str, Any], dicom_instances: list[BinaryIO], input_digest: str) -> Any:
    """Answer one mask, uint8, (slice, row, column) in spatial order: 255 well inside the body, half that at its rim."""
    images = stack(read_images(dicom_instances))
    inside = body(np.stack([image.pixels for image in images]))
    probability = ndimage.gaussian_filter(inside.astype(np.float32), sigma=(0, 1.5, 1.5))
    depth, height, width = inside.shape
    answer = {
        "protocol_version": "1.0",
        "parts": [
            {
                "label": "Body",
                "binary_type": "probability_mask",
                "probability_threshold": 0.5,
                "binary_data_shape": {"timepoints": 1, "depth": depth, "height": height, "width": width},
                "SeriesInstanceUID": images[0].header.SeriesInstanceUID,
            }
        ],
    }
    return answer, [(probability * 255).round().astype(np.uint8)]
