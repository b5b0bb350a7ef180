"""An answer as files: written all together, or not at all."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.format import header_data_from_array_1_0, write_array_header_1_0
from numpy.typing import NDArray

from gateway.client.answer import Answer, is_mask
from gateway.client.folders import replacing
from gateway.contract.findings import MASKS
from gateway.contract.sop_classes import CAPTURE, object_kind
from gateway.dicom.reading.attributes import text
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.volumes.nifti import write_nifti
from gateway.errors import StudyRefused
from gateway.representations.answer_files import MASK, RESPONSE, object_names, other_name, response_json

if TYPE_CHECKING:
    from gateway.client.answer import Mask


def save(answer: Answer, out: Path, *, legacy: bool = False) -> list[Path]:
    """Save an answer, as ``Answer.save``."""
    masks = answer.masks()
    with replacing(out, answer, "save") as folder:
        names = [
            _save_json(folder, answer),
            *_save_masks(folder, masks, legacy),
            *_save_others(folder, answer, legacy),
        ]
    return [out / name for name in names]


def _save_json(out: Path, answer: Answer) -> str:
    (out / RESPONSE).write_bytes(response_json(answer.json))
    return RESPONSE


def _save_masks(out: Path, masks: "list[Mask]", legacy: bool) -> Iterator[str]:
    for number, mask in enumerate(masks, start=1):
        name = MASK.format(number)
        with (out / name).open("wb") as file:
            if not legacy:
                write_array_header_1_0(file, header_data_from_array_1_0(mask))
            file.write(mask.data)  # np.save would give no reason where the disk is full
        yield name


def _save_others(out: Path, answer: Answer, legacy: bool) -> Iterator[str]:
    """DICOM parts by their kind; parts of a newer protocol as ``part_N.bin``."""
    names = object_names(answer)
    if legacy:
        names = {index: f"{CAPTURE.stem}_{count}" for count, index in enumerate(names)}
    for index in (index for index, part in enumerate(answer.parts) if not is_mask(part)):
        name = other_name(names, index)
        (out / name).write_bytes(answer.buffers[index])
        yield name


def write_objects(datasets: Iterable[Any], out: Path) -> list[Path]:
    """Write DICOM objects, each by its kind: ``seg_0.dcm``, ``sr_0.dcm``, ``seg_1.dcm`` ..."""
    counts, paths = Counter[str](), []
    for dataset in datasets:
        stem = object_kind(text(dataset, "SOPClassUID")).stem
        paths.append(out / f"{stem}_{counts[stem]}.dcm")
        paths[-1].write_bytes(convert_dataset_to_bytes(dataset))
        counts[stem] += 1
    return paths


def write_nifti_files(masks: Iterable[Any], out: Path) -> list[Path]:
    """Write ``mask_N.nii.gz``, N from 1. Raises StudyRefused for a mask on images that are no volume."""
    paths = []
    for number, mask in enumerate(masks, start=1):
        matrix = getattr(mask.of, "affine", None)
        if matrix is None:
            raise StudyRefused(f"Mask {number} lies on images that are no volume, so it has no place in a NIfTI file.")
        paths.append(out / f"mask_{number}.nii.gz")
        write_nifti(_values(mask), matrix, paths[-1])
    return paths


def _values(mask: Any) -> NDArray[Any]:
    """(slice, row, column): fractions of 0 to 1 as float32, all else as uint8."""
    array = mask.array if mask.array.ndim == 3 else mask.array[None]
    if MASKS[type(mask)].is_fraction:
        values = np.asarray(array, np.float32)
        return values / np.float32(255) if array.dtype == np.uint8 else values
    return np.asarray(array, np.uint8)
