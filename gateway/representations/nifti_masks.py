"""The masks of an answer as NIfTI files, on the grid of the NIfTI file that was sent, or of the DICOM series."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.contract.findings import MASKS, Label, LabelMask, Mask
from gateway.dicom.reading.instances import Instance
from gateway.dicom.volumes.nifti import encode_nifti
from gateway.errors import NotAcceptable, StudyRefused
from gateway.protocol.accept import NIFTI_FILES, ZIP
from gateway.representations.answer_files import Answered, File
from gateway.representations.placement import placed_masks

NIFTI_NAME = "mask_{}.nii.gz"
"""The name of a mask, counted from 1."""
MOST_LABELS = 255
"""Labels of one file of uint8."""
_ARCHIVE = f"accept {ZIP}; masks={NIFTI_FILES}, an archive with a file for each mask"


def nifti_files(answer: Answered, source: Sequence[Instance]) -> Iterator[File]:
    """Yield the masks of an answer in their order, each as a file ``mask_N.nii.gz``.

    ``source`` are the images of the request. Raises StudyRefused for a mask without a place, AnswerInvalid.
    """
    for number, mask in enumerate(placed_masks(answer.json, answer.buffers, source), start=1):
        yield NIFTI_NAME.format(number), nifti_file(mask, number)


def one_nifti_file(answer: Answered, source: Sequence[Instance]) -> bytes:
    """Return an answer as one file: its only mask, else a map of the labels of all masks.

    In a map of labels the values count on from mask to mask, a boolean mask has one and a label mask those that it
    names; the header's comment names them, as JSON. Raises NotAcceptable for an answer without a mask, or of masks that
    overlap, are fractions, lie on several grids or have too many labels; StudyRefused for a mask without a place.
    """
    masks = list(placed_masks(answer.json, answer.buffers, source))
    if not masks:
        raise NotAcceptable("The answer has no mask, so it is no NIfTI file: accept application/json.")
    return nifti_file(masks[0], 1) if len(masks) == 1 else _label_map(masks)


def nifti_file(mask: Any, number: int) -> bytes:
    """Return a mask as a ``.nii.gz`` file; ``number`` is its place among the masks, from 1.

    uint8 of 0 and 1, or of labels; float32 of 0 to 1 for probabilities and heat. Raises StudyRefused for a mask on
    images that are no volume.
    """
    return encode_nifti(_values(mask), _place(mask, number), _comment(_names(mask)))


def _place(mask: Any, number: int) -> Any:
    if getattr(mask.of, "affine", None) is None:
        raise StudyRefused(
            f"Mask {number} lies on images that are no volume, so it has no place in a NIfTI file.",
            private="a mask without an affine",
        )
    return mask.of


def _values(mask: Any) -> NDArray[Any]:
    """(slice, row, column): fractions of 0 to 1 as float32, all else as uint8."""
    array = mask.array if mask.array.ndim == 3 else mask.array[None]
    if MASKS[type(mask)].is_fraction:
        values = np.asarray(array, np.float32)
        return values / np.float32(255) if array.dtype == np.uint8 else values
    return np.asarray(array, np.uint8)


def _names(mask: Any) -> dict[int, str]:
    """The names of the values of a mask of regions."""
    if isinstance(mask, LabelMask):
        return {value: name.name if isinstance(name, Label) else name for value, name in sorted(mask.labels.items())}
    return {1: mask.label} if isinstance(mask, Mask) else {}


def _label_map(masks: Sequence[Any]) -> bytes:
    """Masks of regions on one grid as one file."""
    if not all(isinstance(mask, (Mask, LabelMask)) for mask in masks):
        raise NotAcceptable(f"An answer of several masks with probabilities is no NIfTI file: {_ARCHIVE}.")
    places = [_place(mask, number) for number, mask in enumerate(masks, start=1)]
    if any(one.frames != places[0].frames for one in places):
        raise NotAcceptable(f"The masks of the answer lie on several grids, so one NIfTI file cannot: {_ARCHIVE}.")
    labels: dict[int, str] = {}
    found: NDArray[np.uint8] = np.zeros(_values(masks[0]).shape, np.uint8)
    for mask in masks:
        values, names = _values(mask), _names(mask)
        if len(labels) + len(names) > MOST_LABELS:
            raise NotAcceptable(f"The masks of the answer have more than {MOST_LABELS} labels together: {_ARCHIVE}.")
        if (found[values > 0] > 0).any():
            raise NotAcceptable(f"The masks of the answer overlap, so they are no map of labels: {_ARCHIVE}.")
        numbers = np.zeros(256, np.uint8)
        numbers[list(names)] = range(len(labels) + 1, len(labels) + 1 + len(names))
        found |= numbers[values]
        labels |= dict(enumerate(names.values(), start=len(labels) + 1))
    return encode_nifti(found, places[0], _comment(labels))


def _comment(labels: dict[int, str]) -> str:
    return json.dumps({"labels": {str(value): name for value, name in labels.items()}}) if labels else ""
