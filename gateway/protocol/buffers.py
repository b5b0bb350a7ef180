"""The checks of one binary part: each takes its entry in ``parts``, the model's buffer and the bytes to send.

A mask is uint8, (time point, slice, row, column) in C order: the column runs fastest.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy

from gateway.contract.requests import JSON, Buffer


class BufferFault(NamedTuple):
    """A fault of one part: its place in the entry, and one sentence for its author."""

    at: tuple[str, ...]
    sentence: str


Check = Callable[[JSON, Buffer, memoryview], BufferFault | None]

DIMENSIONS = ("timepoints", "depth", "height", "width")
"""The axes of a mask, outermost first; one that ``binary_data_shape`` leaves out is left out of the array."""
_WIDEN = "clip it to 0 to 255 if it goes beyond, then use .astype(numpy.uint8)"


def uint8_or_bool(from_float: str) -> Check:
    """A check that a mask is uint8 or bool; bytes count as uint8. ``from_float`` is the advice for floats."""
    advice = {"f": from_float, "i": _WIDEN, "u": _WIDEN}

    def check(entry: JSON, buffer: Buffer, data: memoryview) -> BufferFault | None:
        if isinstance(buffer, numpy.ma.MaskedArray):
            return BufferFault((), "The mask is a masked array; say what lies beneath with .filled(0).")
        dtype = _dtype(buffer)
        if dtype is None or dtype in (numpy.uint8, numpy.bool_):
            return None
        hint = advice.get(dtype.kind, "send an array of numpy.uint8")
        return BufferFault((), f"The mask is {dtype.name}; it should be uint8 or bool. Convert it: {hint}.")

    return check


def shape_of(lengths: Mapping[str, Any]) -> list[Any]:
    """Return the shape of a mask as an array; ``lengths`` is its ``binary_data_shape``."""
    return [lengths[axis] for axis in DIMENSIONS if axis in lengths]


def fills_its_shape(entry: JSON, buffer: Buffer, data: memoryview) -> BufferFault | None:
    """Check that each voxel of ``binary_data_shape`` has a byte; an absent ``timepoints`` or ``depth`` is one."""
    sizes = [entry["binary_data_shape"].get(name, 1) for name in DIMENSIONS]
    expected = math.prod(sizes)
    if data.nbytes == expected:
        return None
    product = " x ".join(map(str, sizes))
    return BufferFault(
        ("binary_data_shape",), f"The mask holds {data.nbytes} bytes, but its shape is {product} = {expected}."
    )


def stays_within_its_labels(entry: JSON, buffer: Buffer, data: memoryview) -> BufferFault | None:
    """No value of the mask lies above the largest key of ``label_map``."""
    largest = max(map(int, entry["label_map"]), default=0)
    found = int(numpy.frombuffer(data, numpy.uint8).max(initial=0))
    if found <= largest:
        return None
    return BufferFault((), f"The mask holds the value {found}, but the largest key of its label_map is {largest}.")


def is_dicom_file(entry: JSON, buffer: Buffer, data: memoryview) -> BufferFault | None:
    """``DICM`` follows the preamble of 128 bytes (PS3.10 7.1)."""
    if bytes(data[128:132]) == b"DICM":
        return None
    return BufferFault(
        (), "The part is no DICOM file: DICM is not at byte 128. Return the Dataset itself, or a file of it."
    )


def _dtype(buffer: Any) -> "numpy.dtype[Any] | None":
    """The type of the elements of an array or buffer; None for a file, which has only bytes."""
    if isinstance(buffer, (numpy.ndarray, numpy.generic)):
        return buffer.dtype
    try:
        return numpy.asarray(memoryview(buffer)).dtype
    except (TypeError, ValueError):
        return None
