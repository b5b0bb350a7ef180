"""Single attributes, read so that a broken one counts as absent.

An absent position or spacing makes geometry refuse, so nothing is guessed from a value that cannot be read.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

Vector = NDArray[np.float64]

tag = cache(Tag)
"""The tag of a keyword."""


def value(dataset: Dataset, keyword: str) -> Any:
    """The value of an attribute; None when it is absent, empty, or not of its value representation (PS3.5 6.2)."""
    if tag(keyword) not in dataset:  # a search by keyword costs ten times as much
        return None
    try:
        found = dataset.get(keyword)
    except Exception:  # pydicom converts on access, and raises any of a dozen types on hostile bytes
        return None
    return None if found is None or found == "" else found


def text(dataset: Dataset, keyword: str) -> str:
    """The value of an attribute as text, "" when absent."""
    found = value(dataset, keyword)
    return "" if found is None else str(found)


def numbers(dataset: Dataset, keyword: str, count: int) -> Vector | None:
    """Exactly ``count`` finite numbers, float64, or None."""
    try:
        found = np.asarray(value(dataset, keyword), dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return found if found.shape == (count,) and bool(np.isfinite(found).all()) else None


def number(dataset: Dataset, keyword: str) -> float | None:
    """The first number of an attribute, if it is finite, or None."""
    try:
        found = float(np.asarray(value(dataset, keyword), dtype=np.float64).reshape(-1)[0])
    except (TypeError, ValueError, IndexError):
        return None
    return found if np.isfinite(found) else None


def whole(dataset: Dataset, keyword: str) -> int | None:
    """The first number of an attribute as an integer, or None."""
    found = number(dataset, keyword)
    return None if found is None else int(found)


def functional_group(header: Dataset, macro: str, frame: int = 0) -> Dataset:
    """The item of ``macro`` that holds for a frame: its own, else the shared one, else the header (PS3.3 C.7.6.16)."""
    for groups, index in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        items = value(header, groups)
        if not isinstance(items, Sequence) or index >= len(items):
            continue
        found = value(items[index], macro)
        if isinstance(found, Sequence) and found:
            return found[0]
    return header
