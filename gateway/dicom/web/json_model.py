"""The DICOM JSON Model (PS3.18 F): a data set as objects by tag, its large values by their addresses."""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pydicom import DataElement, Dataset

from gateway.dicom.reading.files import refusing

JsonModel = dict[str, dict[str, Any]]
BulkAddress = Callable[[str], str]
"""From the place of a value, such as ``00880200/0/7FE00010``, to its BulkDataURI."""

UNICODE = {"vr": "CS", "Value": ["ISO_IR 192"]}
"""SpecificCharacterSet of JSON, which is UTF-8 (PS3.18 F.2)."""
CHARACTER_SET = "00080005"
BULK_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
MAX_INLINE_BYTES = 1024
"""Bytes of a binary value that are sent inside the model; larger ones have an address."""


def json_model(dataset: Dataset, address: BulkAddress) -> JsonModel:
    """Return the model of a data set without its file meta information.

    A value that is not of its VR is left out: it cannot be represented.
    """
    with refusing("A DICOM header is broken and cannot be read."):
        model = _items(dataset, "", address)
        if CHARACTER_SET in model:
            model[CHARACTER_SET] = UNICODE
        return model


def _items(dataset: Dataset, place: str, address: BulkAddress) -> JsonModel:
    model: JsonModel = {}
    for tag in sorted(dataset.keys()):
        if tag.element == 0:  # a group length (PS3.18 F.2.2)
            continue
        name = f"{int(tag):08X}"
        with suppress(Exception):  # pydicom converts on access, and raises any of a dozen types on hostile bytes
            model[name] = _element(dataset[tag], f"{place}{name}", address)
    return model


def _element(element: DataElement, place: str, address: BulkAddress) -> dict[str, Any]:
    if element.VR == "SQ":
        items = [_items(item, f"{place}/{number}/", address) for number, item in enumerate(element.value)]
        return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
    if element.VR in BULK_VRS and isinstance(element.value, bytes) and len(element.value) > MAX_INLINE_BYTES:
        return {"vr": element.VR, "BulkDataURI": address(place)}
    return element_model(element)


def element_model(element: DataElement) -> dict[str, Any]:
    """Return the model of one element that is no sequence. Raises what pydicom raises for an invalid value."""
    model: dict[str, Any] = element.to_json_dict(None, 0)
    if element.VR in ("DS", "FL", "FD") and "Value" in model:
        model["Value"] = [_number(value) for value in model["Value"]]
    return model


def _number(value: float | None) -> float | str | None:
    """A number, or the text of one that JSON lacks (PS3.18 F.2.3.1); None is an empty value."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
