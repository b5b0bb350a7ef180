"""NIfTI and DICOM conversions under the names that services import them by."""

from gateway.dicom.decoding.pixels import convert_monochrome_1to2
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.volumes.nifti import (
    ARTERYS_BINARY,
    ARTERYS_MULTI_CLASS,
    ARTERYS_PROBABILITY_MASK,
    convert_to_nifti,
    get_masks_from_nifti_file,
    load_nifti_file,
)

__all__ = [
    "ARTERYS_BINARY",
    "ARTERYS_MULTI_CLASS",
    "ARTERYS_PROBABILITY_MASK",
    "convert_dataset_to_bytes",
    "convert_monochrome_1to2",
    "convert_to_nifti",
    "get_masks_from_nifti_file",
    "load_nifti_file",
]
