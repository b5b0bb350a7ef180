"""Models that cost next to nothing, so that what is measured is the gateway around them."""

import functools
import random
from typing import Any, BinaryIO

import numpy

HEIGHT = WIDTH = 512
"""Rows and columns of the mask, in pixels; 256 slices of them are 64 MiB."""
SLICE = HEIGHT * WIDTH

Answer = tuple[dict[str, Any], list[Any]]


def mask(json_input: dict[str, Any], files: list[BinaryIO], digest: str) -> Answer:
    """Answer a probability mask of ``depth`` slices; only the first 132 bytes of each file are read."""
    return _masked(json_input["depth"], sum(file.read(132)[128:] == b"DICM" for file in files))


def reads(json_input: dict[str, Any], files: list[BinaryIO], digest: str) -> Answer:
    """Read and discard every file, one after the other, and answer a mask of ``depth`` slices."""
    return _masked(json_input["depth"], sum(len(file.read()) for file in files))


def tiny(json_input: dict[str, Any], files: list[BinaryIO], digest: str) -> Answer:
    """Answer a short JSON object."""
    return {"protocol_version": "1.0", "study_ml_json": {"files": len(files)}, "parts": []}, []


MODELS = {"/": mask, "/reads": reads, "/tiny": tiny}
"""The routes that both gateways serve."""


def _masked(depth: int, seen: int) -> Answer:
    words: dict[str, Any] = {"protocol_version": "1.0", "study_ml_json": {"seen": seen}, "parts": []}
    if not depth:
        return words, []
    shape = {"timepoints": 1, "depth": depth, "height": HEIGHT, "width": WIDTH}
    words["parts"] = [{"label": "noise", "binary_type": "probability_mask", "binary_data_shape": shape}]
    return words, [_noise(depth)]


@functools.cache
def _noise(depth: int) -> "numpy.ndarray[Any, numpy.dtype[numpy.uint8]]":
    """uint8, (slice, row, column), C order. Made once: making it for each request would hide the cost of the gateway.

    Its memory is a ``bytes`` object, which is sent without a copy, as is an array that the model does not keep.
    """
    noise = random.Random(depth).randbytes(SLICE) * depth
    return numpy.frombuffer(noise, numpy.uint8).reshape(depth, HEIGHT, WIDTH)
