"""Binary values of a big-endian data set in little endian, as DICOMweb sends them (PS3.18 F.2.7)."""

from collections.abc import Iterator
from contextlib import suppress

import numpy as np
from pydicom import DataElement, Dataset

from gateway.dicom.reading.raw_values import short

_PIXEL_DATA = 0x7FE00010
_WORDS = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}
"""Bytes of a word of each VR that pydicom leaves as it lies in the file (PS3.5 7.3); numbers it converts."""


def to_little_endian(dataset: Dataset) -> None:
    """Swap the words of a data set that was read from a big-endian file, in all its sequences too."""
    for element in _elements(dataset):
        size, value = _WORDS.get(element.VR), element.value
        if size and element.tag == _PIXEL_DATA:
            size = max(size, (short(dataset, "BitsAllocated") or 0) // 8)  # a value of 32 bits is one word
        if size and isinstance(value, bytes):
            whole = len(value) - len(value) % size
            element.value = np.frombuffer(value[:whole], f">u{size}").astype(f"<u{size}").tobytes() + value[whole:]


def _elements(dataset: Dataset) -> Iterator[DataElement]:
    """All elements but those that pydicom cannot convert, which raise any of a dozen types on hostile bytes."""
    for tag in list(dataset.keys()):
        with suppress(Exception):
            element = dataset[tag]
            if element.VR == "SQ":
                for item in element.value:
                    yield from _elements(item)
            else:
                yield element
