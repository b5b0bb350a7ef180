"""Pictures as Secondary Capture objects in the study that they were made from (PS3.3 A.8.1)."""

from typing import Any

import numpy as np
from pydicom import Dataset

from gateway.contract.findings import Heatmap, SecondaryCapture, as_uint8
from gateway.dicom.writing.provenance import Stamp
from gateway.errors import AnswerInvalid


def secondary_capture(finding: SecondaryCapture, stamp: Stamp) -> Dataset:
    """Return a picture as a Secondary Capture: uint8 of (row, column) or (row, column, 3).

    A finished dataset is returned as it is. Raises AnswerInvalid for any other array.
    """
    picture: Any = finding.picture
    if isinstance(picture, Dataset):
        return picture
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
        raise AnswerInvalid("", "A picture should be a numpy array of uint8, or a finished dataset.")
    if not picture.size or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,)):
        raise AnswerInvalid("", "A picture should be (row, column) or (row, column, 3).")
    return stamp.finish(_made(picture, stamp), finding.label or "Picture", content=[picture.tobytes()])


def heat(heatmap: Heatmap, stamp: Stamp) -> Dataset:
    """Return the values of a heatmap on one image as a grey picture, for an image without a place (PS3.3 A.75)."""
    try:
        values = as_uint8(heatmap.array)
    except ValueError as error:
        raise AnswerInvalid("", f"A heatmap {error}.") from None
    shown = values.reshape(values.shape[-2:])
    return secondary_capture(SecondaryCapture(shown, heatmap.label or "Heatmap"), stamp)


def _made(picture: np.ndarray[Any, np.dtype[np.uint8]], stamp: Stamp) -> Dataset:
    from highdicom.sc import SCImage

    who = stamp.placeholders
    made = SCImage(
        pixel_array=picture,
        photometric_interpretation="RGB" if picture.ndim == 3 else "MONOCHROME2",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=stamp.study_instance_uid,
        series_instance_uid=who["series_instance_uid"],
        series_number=who["series_number"],
        sop_instance_uid=who["sop_instance_uid"],
        instance_number=1,
        manufacturer=who["manufacturer"],
        patient_orientation=("L", "P"),
    )
    dataset = Dataset(made)
    dataset.PatientOrientation = []  # highdicom wants one, but a picture need not show the patient
    return dataset
