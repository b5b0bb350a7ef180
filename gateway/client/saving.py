"""An answer as files: whole in its folder, or not there at all."""

import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gateway.client.answer import Answer, is_mask
from gateway.contract.findings import Heatmap, ProbabilityMask
from gateway.dicom.reading.sop_classes import CAPTURE, STEMS, file_names
from gateway.dicom.volumes.nifti import write_nifti
from gateway.errors import StudyRefused
from gateway.protocol.kinds import DICOM

if TYPE_CHECKING:
    from gateway.client.answer import Mask


OWN_FILES = re.compile(rf"response\.json|output_masks_\d+\.npy|({STEMS})_\d+\.dcm|part_\d+\.bin")


def save(answer: Answer, out: Path, *, legacy: bool = False) -> list[Path]:
    """What ``Answer.save`` says."""
    masks = answer.masks()
    with _arriving(out) as folder:
        names = [
            _save_words(folder, answer),
            *_save_masks(folder, masks, legacy),
            *_save_others(folder, answer, legacy),
        ]
    return [out / name for name in names]


@contextmanager
def _arriving(out: Path) -> Iterator[Path]:
    """A folder beside the files of an earlier answer, whose files take the place of those once all are written."""
    out.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".answer-", dir=out))
    try:
        yield fresh
        for earlier in out.iterdir():
            if OWN_FILES.fullmatch(earlier.name):
                earlier.unlink()
        for path in fresh.iterdir():
            path.replace(out / path.name)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _save_words(out: Path, answer: Answer) -> str:
    text = json.dumps(answer.json, indent=2, ensure_ascii=False)
    (out / "response.json").write_bytes(text.encode("utf-8", "surrogatepass") + b"\n")
    return "response.json"


def _save_masks(out: Path, masks: "list[Mask]", legacy: bool) -> Iterator[str]:
    for number, mask in enumerate(masks, start=1):
        name = f"output_masks_{number}.npy"
        with (out / name).open("wb") as file:
            if legacy:
                file.write(mask.data)
            else:
                np.save(file, mask, allow_pickle=False)
        yield name


def _save_others(out: Path, answer: Answer, legacy: bool) -> Iterator[str]:
    """DICOM parts by what they are; what a newer protocol may bring as ``part_N.bin``."""
    others = [index for index, part in enumerate(answer.parts) if not is_mask(part)]
    dicom = [index for index in others if answer.media_types[index] == DICOM]
    kinds = ((str(answer.parts[index].get("binary_type")), answer.buffers[index]) for index in dicom)
    names = (f"{CAPTURE.stem}_{count}" for count in range(len(dicom))) if legacy else file_names(kinds)
    named = dict(zip(dicom, names, strict=True))
    for index in others:
        name = f"{named[index]}.dcm" if index in named else f"part_{index}.bin"
        (out / name).write_bytes(answer.buffers[index])
        yield name


def write_nifti_files(masks: Iterable[Any], out: Path) -> list[Path]:
    """Write ``mask_N.nii.gz``, N from 1. Raises StudyRefused for a mask on images that are no volume."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, mask in enumerate(masks, start=1):
        matrix = getattr(mask.of, "affine", None)
        if matrix is None:
            raise StudyRefused(f"Mask {number} lies on images that are no volume, so it has no place in a NIfTI file.")
        paths.append(out / f"mask_{number}.nii.gz")
        write_nifti(_values(mask), matrix, paths[-1])
    return paths


def _values(mask: Any) -> NDArray[Any]:
    """(slice, row, column): what is 0 to 1 as float32, all else as uint8."""
    array = mask.array if mask.array.ndim == 3 else mask.array[None]
    if isinstance(mask, ProbabilityMask | Heatmap):
        values = np.asarray(array, np.float32)
        return values / np.float32(255) if array.dtype == np.uint8 else values
    return np.asarray(array, np.uint8)
