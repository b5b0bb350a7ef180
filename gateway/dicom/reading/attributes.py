"""Single attributes of a dataset.

A number is readable, absent, or unreadable. An unreadable one is refused by keyword and tag: taken as absent, it would
shift every pixel or length that depends on it.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.datadict import dictionary_VM
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from gateway.errors import StudyRefused

Vector = NDArray[np.float64]

NEVER_EMPTY = frozenset(
    {
        "Rows",
        "Columns",
        "SamplesPerPixel",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "RescaleSlope",
        "RescaleIntercept",
        "DoseGridScaling",
        "ModalityLUTSequence",
        "PixelValueTransformationSequence",
    }
)
"""Attributes of pixel values, of type 1 or 1C: each has a value where it is present. Others that are empty count as
absent, as type 2 allows (PS3.5 7.4)."""

tag = cache(Tag)
"""The tag of a keyword."""


def value(dataset: Dataset, keyword: str) -> Any:
    """The value of an attribute; None when it is absent, empty, or not of its value representation (PS3.5 6.2)."""
    if tag(keyword) not in dataset:  # a search by keyword costs ten times as much
        return None
    try:
        content = dataset.get(keyword)
    except Exception:  # pydicom converts on access, and raises any of a dozen types on hostile bytes
        return None
    return None if content is None or content == "" else content


def text(dataset: Dataset, keyword: str) -> str:
    """The value of an attribute as text, "" when absent."""
    content = value(dataset, keyword)
    return "" if content is None else str(content)


def unreadable(keyword: str, fault: str) -> StudyRefused:
    """The refusal of one attribute by its keyword and tag; ``fault`` is the end of the sentence, without a value."""
    key = tag(keyword)
    attribute = f"{keyword} ({key.group:04X},{key.element:04X})"
    return StudyRefused(f"{attribute} {fault}. Correct the file and send it again.", private=attribute)


def numbers(dataset: Dataset, keyword: str, count: int) -> Vector | None:
    """Exactly ``count`` finite numbers, float64; None when absent. Raises StudyRefused for any other value."""
    content = _parsed(dataset, keyword)
    if content is not None and len(content) != count:
        raise unreadable(keyword, f"does not hold {count} numbers")
    return content


def number(dataset: Dataset, keyword: str) -> float | None:
    """Read a finite number, the first where several are allowed; None when absent. Raises StudyRefused."""
    content = _parsed(dataset, keyword)
    if content is None:
        return None
    if len(content) > 1 and dictionary_VM(tag(keyword)) == "1":
        raise unreadable(keyword, "holds several numbers where one is allowed")
    return float(content[0])


def whole(dataset: Dataset, keyword: str) -> int | None:
    """Read a whole number; None when absent. Raises StudyRefused."""
    content = number(dataset, keyword)
    if content is not None and not content.is_integer():
        raise unreadable(keyword, "is not a whole number")
    return None if content is None else int(content)


def ordinal(dataset: Dataset, keyword: str) -> float | None:
    """A number that only sorts instances, so that an unreadable one counts as absent."""
    try:
        return number(dataset, keyword)
    except StudyRefused:
        return None


def _parsed(dataset: Dataset, keyword: str) -> Vector | None:
    """The numbers of an attribute; None when it is absent, or empty and allowed to be."""
    content = _present(dataset, keyword)
    if content is None:
        return None
    each = list(content) if isinstance(content, MultiValue | list | tuple) else [content]
    try:
        parsed = np.array([_strict(part) for part in each])
    except (TypeError, ValueError):
        raise unreadable(keyword, "does not hold a number") from None
    if not np.isfinite(parsed).all():
        raise unreadable(keyword, "does not hold a finite number")
    return parsed


def _present(dataset: Dataset, keyword: str) -> Any:
    """The value of an attribute; None when it is absent, or empty and allowed to be."""
    key = tag(keyword)
    if key not in dataset:
        return None
    try:
        content = dataset[key].value
    except Exception:  # pydicom converts on access, and raises any of a dozen types on hostile bytes
        raise unreadable(keyword, "is not of its value representation") from None
    if content is not None and content != "" and not (isinstance(content, MultiValue | Sequence) and not len(content)):
        return content
    if keyword in NEVER_EMPTY:
        raise unreadable(keyword, "is empty")
    return None


def _strict(content: Any) -> float:
    """A number as DICOM writes one: Python alone would also read the bytes of an unknown representation, and 1_0."""
    if isinstance(content, bytes) or "_" in str(content):
        raise ValueError
    return float(content)


def sequence(dataset: Dataset, keyword: str) -> Sequence | None:
    """The items of a sequence; None when it is absent or empty. Raises StudyRefused when it is no sequence."""
    content = _present(dataset, keyword)
    if content is not None and not isinstance(content, Sequence):
        raise unreadable(keyword, "is not a sequence")
    return content


def functional_group(header: Dataset, macro: str, frame: int = 0) -> Dataset:
    """The item of ``macro`` that holds for a frame: its own, else the shared one, else the header (PS3.3 C.7.6.16).

    Raises StudyRefused where a sequence on the way cannot be read, or has no item for the frame.
    """
    for groups, index in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        items = sequence(header, groups)
        if items is None:
            continue
        if index >= len(items):
            raise unreadable(groups, "has fewer items than the image has frames")
        content = sequence(items[index], macro)
        if content is not None:
            return content[0]
    return header
