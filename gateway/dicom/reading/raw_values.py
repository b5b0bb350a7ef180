"""Attributes as they lie in the file: ``attributes`` at a tenth of the price, for values that are as they should be.

pydicom converts a value on access, with all the care that strange files need; a thousand slices make that seconds.
Whatever is not plain here is left to ``attributes``, which also judges what is broken.
"""

from collections.abc import Iterable
from math import isfinite
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataelem import RawDataElement

from gateway.dicom.reading import attributes
from gateway.dicom.reading.attributes import Vector, tag


def encoded(dataset: Dataset, keyword: str, vr: str | None = None) -> bytes | None:
    """The bytes of a value; None when it is absent, empty, not of this ``vr``, big endian, or was converted before."""
    found: Any = dataset.get_item(tag(keyword))
    if not isinstance(found, RawDataElement) or not found.is_little_endian or (vr and found.VR not in (vr, None)):
        return None
    return found.value or None


def different(datasets: Iterable[Dataset], keyword: str) -> list[Dataset]:
    """At least one dataset for each value of an attribute, and one alone for all in which its bytes are the same."""
    found: dict[bytes | int, Dataset] = {}
    for dataset in datasets:
        same = encoded(dataset, keyword)
        found.setdefault(id(dataset) if same is None and tag(keyword) in dataset else same or b"", dataset)
    return list(found.values())


def distinct(datasets: Iterable[Dataset], keyword: str) -> int:
    """Count the values of an attribute over instances; absent is one of them."""
    return len({attributes.text(dataset, keyword) for dataset in different(datasets, keyword)})


def uid(dataset: Dataset, keyword: str) -> str:
    """As ``attributes.text``, of a UID."""
    found = encoded(dataset, keyword, "UI")
    if found is None or b"\\" in found or not found.isascii():
        return attributes.text(dataset, keyword)
    return found.rstrip(b"\0 ").decode()


def short(dataset: Dataset, keyword: str) -> int | None:
    """As ``attributes.whole``, of an unsigned short in little endian."""
    found = encoded(dataset, keyword, "US")
    return int.from_bytes(found, "little") if found and len(found) == 2 else attributes.whole(dataset, keyword)


def whole(dataset: Dataset, keyword: str) -> int | None:
    """As ``attributes.whole``, of an integer string."""
    found = (encoded(dataset, keyword, "IS") or b"").strip()
    return int(found) if found.isdigit() else attributes.whole(dataset, keyword)


def number(dataset: Dataset, keyword: str) -> float | None:
    """As ``attributes.number``, of a decimal string."""
    try:
        found = _strict(encoded(dataset, keyword, "DS") or b"")
    except ValueError:
        return attributes.number(dataset, keyword)
    return found if isfinite(found) else attributes.number(dataset, keyword)


def numbers(dataset: Dataset, keyword: str, count: int) -> Vector | None:
    """As ``attributes.numbers``, of decimal strings."""
    found = encoded(dataset, keyword, "DS")
    try:
        array = np.array([_strict(each) for each in (found or b"").split(b"\\")])
    except ValueError:
        return attributes.numbers(dataset, keyword, count)
    plain = array.shape == (count,) and bool(np.isfinite(array).all())
    return array if plain else attributes.numbers(dataset, keyword, count)


def _strict(found: bytes) -> float:
    """A decimal string; Python alone would also read 1_0."""
    if b"_" in found:
        raise ValueError
    return float(found)
