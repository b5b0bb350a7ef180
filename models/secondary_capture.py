"""A secondary capture of the middle image, the outline of the body burnt in."""

from typing import Any, BinaryIO

import highdicom
import numpy as np
import pydicom
from highdicom.sc import SCImage
from numpy.typing import NDArray
from scipy import ndimage

from gateway import StudyRefused
from models.anatomy import Slice, body, read_images

YELLOW = (255, 210, 0)
CLOCK = ("InstanceCreation{}", "Content{}", "{}OfSecondaryCapture")


def capture(json_input: dict[str, Any], dicom_instances: list[BinaryIO], input_digest: str) -> Any:
    """Answer one DICOM Secondary Capture, RGB of 8 bits, in a series of its own within the study."""
    images = read_images(dicom_instances)
    if all(image.is_placed for image in images):
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
    """The same input gives the same UIDs, and so has to give the same bytes: the clock is left out."""
    try:
        made = _sc_image(source, rgb, digest)
    except (AttributeError, TypeError, ValueError) as error:
        raise StudyRefused("A capture repeats parts of the image's header, and these are missing or broken.") from error
    made.PatientOrientation = _patient_orientation(source)
    for name in CLOCK:
        made.pop(name.format("Date"), None)
        made.pop(name.format("Time"), None)
    for equipment in made.get("ContributingEquipmentSequence", []):
        equipment.pop("ContributionDateTime", None)
    return made


def _patient_orientation(source: pydicom.Dataset) -> list[str]:
    """Where a row and a column run to, such as L and P (PS3.3 C.7.6.1.1.1); empty where the header does not say."""
    if np.size(source.get("ImageOrientationPatient")) != 6:
        return list(source.get("PatientOrientation") or [])
    cosines = np.reshape(np.asarray(source.ImageOrientationPatient, float), (2, 3))
    axes = np.abs(cosines).argmax(axis=1)
    return ["LPH"[axis] if line[axis] > 0 else "RAF"[axis] for axis, line in zip(axes, cosines, strict=True)]


def _sc_image(source: pydicom.Dataset, rgb: NDArray[np.uint8], digest: str) -> pydicom.Dataset:
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
        patient_orientation=("L", "P"),  # highdicom insists on one
        series_description="RESEARCH: body outline",
    )
