"""The masks of an answer as NIfTI files, on the grid of the NIfTI file that was sent, or of the DICOM series."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.contract.findings import MASKS, Label, LabelMask, Mask
from gateway.dicom.reading.instances import Instance
from gateway.dicom.volumes.nifti import encode_nifti
from gateway.errors import NotAcceptable, StudyRefused
from gateway.protocol.accept import NIFTI_FILES, ZIP
from gateway.representations.answer_files import Answered, File
from gateway.representations.label_maps import LabelMap
from gateway.representations.placement import placed_masks

NIFTI_NAME = "mask_{}.nii.gz"
"""The name of a mask, counted from 1."""
_ARCHIVE = f"accept {ZIP}; masks={NIFTI_FILES}, an archive with a file for each mask"


def nifti_files(answer: Answered, source: Sequence[Instance]) -> Iterator[File]:
    """Yield the masks of an answer in their order, each as a file ``mask_N.nii.gz``.

    ``source`` are the images of the request. Raises StudyRefused for a mask without a place, AnswerInvalid.
    """
    for number, mask in enumerate(placed_masks(answer.json, answer.buffers, source), start=1):
        yield NIFTI_NAME.format(number), nifti_file(mask, number)


def one_nifti_file(answer: Answered, source: Sequence[Instance]) -> bytes:
    """Return an answer as one file: its only mask, else a map of the labels of all masks.

    In a map of labels (``LabelMap``) the values count on from mask to mask; the header's comment names them, as JSON.
    Raises NotAcceptable for an answer without a mask, or of several masks that overlap, are fractions, lie on several
    grids or on none; StudyRefused for one mask without a place.
    """
    masks = list(placed_masks(answer.json, answer.buffers, source))
    if not masks:
        raise NotAcceptable("The answer has no mask, so it is no NIfTI file: accept application/json.")
    if len(masks) == 1:
        return nifti_file(masks[0], 1)
    labels = LabelMap.of(answer, source) if all(isinstance(mask, (Mask, LabelMask)) for mask in masks) else None
    if labels is None:
        raise NotAcceptable(f"An answer of several masks with probabilities is no NIfTI file: {_ARCHIVE}.")
    return _label_map(labels)


def nifti_file(mask: Any, number: int) -> bytes:
    """Return a mask as a ``.nii.gz`` file; ``number`` is its place among the masks, from 1.

    uint8 of 0 and 1, or of labels; float32 of 0 to 1 for probabilities and heat. Raises StudyRefused for a mask on
    images that are no volume.
    """
    return encode_nifti(_values(mask), _place(mask, number), comment_of(_names(mask)))


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


def _label_map(labels: LabelMap) -> bytes:
    try:
        values = labels.array()
    except NotAcceptable as error:
        raise NotAcceptable(f"The masks of the answer overlap, so they are no map of labels: {_ARCHIVE}.") from error
    return encode_nifti(values, labels.place, comment_of({value: name for name, value in labels.names.items()}))


def comment_of(labels: Mapping[int, str]) -> str:
    """Return the comment of a header that names the values of a file; "" without any."""
    return json.dumps({"labels": {str(value): name for value, name in labels.items()}}) if labels else ""
