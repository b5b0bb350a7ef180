"""A secondary capture of the middle image, the outline of the body burnt in."""

from typing import Any, BinaryIO

import highdicom
import numpy as np
import pydicom
from highdicom.sc import SCImage
from numpy.typing import NDArray
from scipy import ndimage

from models.anatomy import Slice, body, read_images

YELLOW = (255, 210, 0)


def capture(json_input: dict[str, Any], dicom_instances: list[BinaryIO], input_digest: str) -> Any:
    """Answer one DICOM Secondary Capture, RGB of 8 bits, in a series of its own within the study."""
    images = read_images(dicom_instances)
    if all("ImagePositionPatient" in image.header for image in images):
        images = sorted(images, key=lambda image: image.height)
    image = images[len(images) // 2]
    answer = {"protocol_version": "1.0", "parts": [{"label": "Body outline", "binary_type": "dicom_secondary_capture"}]}
    return answer, [_secondary_capture(image.header, _burnt_in(image), input_digest)]


def _burnt_in(image: Slice) -> NDArray[np.uint8]:
    mask = body(image.pixels)
    low, high = np.percentile(image.pixels[mask] if mask.any() else image.pixels, (1, 99))
    grey = np.clip((image.pixels - low) / max(high - low, 1e-6), 0, 1) * 255
    rgb = np.stack([grey] * 3, axis=-1).astype(np.uint8)
    rgb[ndimage.binary_dilation(mask, iterations=2) & ~mask] = YELLOW
    return rgb


def _secondary_capture(source: pydicom.Dataset, rgb: NDArray[np.uint8], digest: str) -> pydicom.Dataset:
    return SCImage.from_ref_dataset(
        ref_dataset=source,
        pixel_array=rgb,
        photometric_interpretation=highdicom.PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=highdicom.CoordinateSystemNames.PATIENT,
        series_instance_uid=pydicom.uid.generate_uid(entropy_srcs=[digest, "series"]),
        sop_instance_uid=pydicom.uid.generate_uid(entropy_srcs=[digest, "instance"]),
        series_number=900,
        instance_number=1,
        manufacturer="Example models",
        patient_orientation=("L", "P"),
        series_description="RESEARCH: body outline",
    )
