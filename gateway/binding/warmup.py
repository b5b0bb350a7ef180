"""A first prediction before any caller's: on a phantom study made to fit what a model declares."""

import io
import logging
from typing import BinaryIO

from gateway.binding.declaration import Declaration, Input
from gateway.contract.requests import Request
from gateway.dicom.samples import phantom
from gateway.dicom.volumes.study import Image, Series, Study, Volume

logger = logging.getLogger("gateway")

SLICES, SIZE = 16, 128
"""Of the phantom's series: enough for a network that halves a volume four times."""


def warmup_request(declaration: Declaration) -> Request | None:
    """A request as the model might get it; None where it takes something that no phantom stands for."""
    files: list[BinaryIO] = []
    for one in declaration.inputs:
        if one.optional:
            continue
        if one.type not in (Volume, Image, Series, Study):
            return None
        files += _series(one, number=len(files))
    return Request(json={}, instances=files, input_digest="0" * 64, request_id="warm-up")


def _series(declared: Input, number: int) -> list[BinaryIO]:
    slices = 1 if declared.type is Image and not declared.many else max(SLICES, declared.requires.min_slices)
    modalities = declared.requires.modalities
    files: list[BinaryIO] = []
    for dataset in phantom.datasets(slices=slices, size=SIZE):
        if number:  # the next argument's series is another one
            dataset.SeriesInstanceUID += f".{number}"
            dataset.SOPInstanceUID += f".{number}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        if modalities and dataset.Modality not in modalities:
            dataset.Modality = modalities[0]
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        file.seek(0)
        files.append(file)
    return files
