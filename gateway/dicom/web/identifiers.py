"""Identifiers of the DICOM network: the keys of a query, and its matches as data sets (PS3.4 C.4.1)."""

import io
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian

from gateway.dicom.reading.files import refusing
from gateway.dicom.web.json_model import CHARACTER_SET, UNICODE, JsonModel, json_model
from gateway.errors import StudyRefused

LEVEL, RETRIEVE_TITLE, FAILED_UIDS = "00080052", "00080054", "00080058"
BROKEN = "The data set of a request cannot be read."
MAX_KEYS = 256
"""Elements of an identifier; the level with most keys has some thirty."""
MAX_BYTES = 128 * 1024
"""Bytes of an identifier; a thousand UIDs take 65 KB."""


class QueryKey(NamedTuple):
    """An element of an identifier: its tag in hexadecimal, with a dot for one inside a sequence, and its value."""

    tag: str
    value: str


def read_keys(data: bytes, transfer_syntax: str) -> list[QueryKey]:
    """Read an identifier; several values have backslashes between. Raises StudyRefused."""
    if len(data) > MAX_BYTES:
        raise StudyRefused(f"An identifier has at most {MAX_BYTES} bytes.")
    with refusing(BROKEN):
        dataset = read_data_set(data, transfer_syntax)
        dataset.decode()
        keys = list(_keys(dataset, ""))
        if len(keys) > MAX_KEYS:
            raise StudyRefused(f"An identifier has at most {MAX_KEYS} elements.")
        return keys


def _keys(dataset: Dataset, place: str) -> Iterable[QueryKey]:
    for element in dataset:
        tag = f"{place}{int(element.tag):08X}"
        if element.VR != "SQ":
            several = element.value if isinstance(element.value, MultiValue) else [element.value]
            yield QueryKey(tag, "\\".join("" if one is None else str(one) for one in several))
        elif place:
            yield QueryKey(tag, "")
        elif element.value:
            yield from _keys(element.value[0], f"{tag}.")
        else:
            yield QueryKey(tag, "")


def read_data_set(data: bytes, transfer_syntax: str) -> Dataset:
    """Read a data set in implicit or explicit VR little endian. Raises what pydicom raises."""
    return read_dataset(io.BytesIO(data), transfer_syntax == ImplicitVRLittleEndian, True)


def write_data_set(dataset: Dataset, transfer_syntax: str) -> bytes:
    """Return the bytes of a data set in implicit or explicit VR little endian."""
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, transfer_syntax == ImplicitVRLittleEndian
    write_dataset(file, dataset)
    return file.getvalue()


def write_match(model: JsonModel, keys: Iterable[QueryKey], level: str, title: str, transfer_syntax: str) -> bytes:
    """Return a match as an identifier: the keys of the query, those without a value empty (PS3.4 C.4.1.1.3.2)."""
    asked = {key.tag.partition(".")[0] for key in keys}
    chosen = {tag: model[tag] for tag in asked if tag in model}
    dataset = Dataset.from_json({**chosen, CHARACTER_SET: UNICODE})
    for tag in asked - chosen.keys() - {LEVEL, CHARACTER_SET}:
        _add_empty(dataset, tag)
    dataset.QueryRetrieveLevel, dataset.RetrieveAETitle = level, title
    return write_data_set(dataset, transfer_syntax)


def _add_empty(dataset: Dataset, tag: str) -> None:
    number = Tag(int(tag, 16))
    try:
        vr = dictionary_VR(number)
    except KeyError:  # private, or of a later edition
        return
    dataset.add_new(number, vr.split(" ")[0], [] if vr == "SQ" else None)


def write_failures(uids: Iterable[str], transfer_syntax: str) -> bytes:
    """Return the identifier of a retrieval with failures (PS3.4 C.4.2.1.4.2)."""
    dataset = Dataset()
    dataset.FailedSOPInstanceUIDList = list(uids)
    return write_data_set(dataset, transfer_syntax)


def query_identifier(level: str, keys: Mapping[str, str]) -> Dataset:
    """Return an identifier of keywords and values, "" for what is asked for (PS3.4 C.4.1.1.3). Raises StudyRefused."""
    dataset = Dataset()
    dataset.SpecificCharacterSet, dataset.QueryRetrieveLevel = "ISO_IR 192", level
    with refusing("A query has a value that is not of its attribute."):
        for keyword, value in keys.items():
            setattr(dataset, keyword, value)
    return dataset


def match_model(match: Dataset | None) -> JsonModel:
    """Return a match in the DICOM JSON model; a value that is not of its VR is left out."""
    return {} if match is None else json_model(match, lambda place: place)
