"""An answer as files: written all together, or not at all."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.lib.format import header_data_from_array_1_0, write_array_header_1_0

from gateway.client.answer import Answer, is_mask
from gateway.client.folders import replacing
from gateway.contract.sop_classes import CAPTURE, object_kind
from gateway.dicom.reading.attributes import text
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.representations.answer_files import MASK, RESPONSE, object_names, other_name, response_json
from gateway.representations.nifti_masks import NIFTI_NAME, nifti_file

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
        paths.append(out / NIFTI_NAME.format(number))
        paths[-1].write_bytes(nifti_file(mask, number))
    return paths
