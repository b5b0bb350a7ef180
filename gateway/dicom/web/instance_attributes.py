"""The attributes of one instance for the tables of QIDO-RS, on each level."""

import re
from contextlib import suppress
from typing import BinaryIO, NamedTuple

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from gateway.dicom.reading import fast_headers, raw_values
from gateway.dicom.reading.attributes import sequence, tag, value
from gateway.dicom.reading.completeness import ends_within
from gateway.dicom.reading.elements import Uncommon
from gateway.dicom.reading.files import opened, read_header, refusing
from gateway.dicom.reading.raw_values import uid
from gateway.dicom.web.comparing import comparable, composed
from gateway.dicom.web.json_model import JsonModel, element_model
from gateway.dicom.web.query_attributes import (
    ATTRIBUTES,
    COMPUTED,
    MAX_VALUE_CHARACTERS,
    REQUEST,
    Matching,
    QueryAttribute,
    QueryLevel,
)
from gateway.errors import StudyRefused

BROKEN = "A DICOM header is broken and cannot be read."
_TAG_OF_REQUEST = "00400275"
MAX_REQUESTS = 16
"""Items of that sequence in the table: a series answers one request, seldom a few."""


class QueryValues(NamedTuple):
    """The values of one level in an instance: by column for matching, and as a JSON model."""

    columns: dict[str, str]
    model: JsonModel


class InstanceAttributes(NamedTuple):
    """What the table knows of an instance, and whether its file is ``complete``: no uncompressed pixel is missing."""

    sop_class_uid: str
    study: QueryValues
    series: QueryValues
    instance: QueryValues
    complete: bool

    @property
    def identity(self) -> "WholeIdentity":
        """The UIDs of the instance."""
        sop, series = self.instance.columns["sop_instance_uid"], self.series.columns["series_instance_uid"]
        return WholeIdentity(self.sop_class_uid, sop, series, self.study.columns["study_instance_uid"], self.complete)


class WholeIdentity(NamedTuple):
    """The UIDs of an instance, "" where one is absent, and whether its file is ``complete``."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    complete: bool


def read_identity(file: BinaryIO) -> WholeIdentity:
    """Read what no table of attributes needs, at a fifth of the price. Raises as ``AttributeReader.read``."""
    with opened(file), refusing(BROKEN):
        header, complete = _header(file)
        sop_class, sop = uid(header, "SOPClassUID"), uid(header, "SOPInstanceUID")
        series, study = uid(header, "SeriesInstanceUID"), uid(header, "StudyInstanceUID")
        return WholeIdentity(sop_class, sop, series, study, complete)


class AttributeReader:
    """Reads the attributes of several files; those of one series share most of them, which are converted once."""

    def __init__(self) -> None:
        self._latest: dict[QueryLevel, tuple[_Encoded, QueryValues]] = {}

    def read(self, file: BinaryIO) -> InstanceAttributes:
        """Read the attributes of one Part 10 file. Raises StudyRefused, NotAnInstance, LimitExceeded."""
        with opened(file), refusing(BROKEN):
            header, complete = _header(file)
            study, series = self._shared(header, QueryLevel.STUDY), self._shared(header, QueryLevel.SERIES)
            instance = _values(header, QueryLevel.INSTANCE)
            return InstanceAttributes(uid(header, "SOPClassUID"), study, series, instance, complete)

    def _shared(self, header: Dataset, level: QueryLevel) -> QueryValues:
        encoded = _encoded(header, level)
        known = self._latest.get(level)
        if encoded is None or known is None or known[0] != encoded:
            known = self._latest[level] = encoded or (), _values(header, level)
        return known[1]


def _header(file: BinaryIO) -> tuple[Dataset, bool]:
    """Return the header of a file, and whether the file is complete."""
    try:
        header, pixels = fast_headers.read(file)
    except Uncommon:
        return read_header(file), True
    return header, not ends_within(file, header, pixels)


_Encoded = tuple[object, ...]
_UID = re.compile(rb"[0-9.]{1,64}")
_CHARACTER_SET = Tag("SpecificCharacterSet")
_TAGS = {
    level: sorted(
        {Tag(one.keyword.partition(".")[0]) for one in ATTRIBUTES if one.level == level and one.keyword not in COMPUTED}
    )
    for level in QueryLevel
}


def _encoded(header: Dataset, level: QueryLevel) -> _Encoded | None:
    """Return the attributes of a level as they lie in the file; None where one has been converted already."""
    elements = [header.get_item(key) for key in (_CHARACTER_SET, *_TAGS[level])]
    if not all(one is None or isinstance(one, RawDataElement) for one in elements):
        return None
    return tuple(one and (one.VR, one.value) for one in elements)


def _values(header: Dataset, level: QueryLevel) -> QueryValues:
    columns: dict[str, str] = {}
    model: JsonModel = {}
    for attribute in ATTRIBUTES:
        if attribute.level != level or attribute.keyword in COMPUTED:
            continue
        if attribute.keyword.startswith(REQUEST):
            columns[attribute.column] = _listed(_requests(header), attribute)
        else:
            _add(attribute, header, columns, model)
    if level == QueryLevel.SERIES and (items := [_request(item) for item in _requests(header)]):
        model[_TAG_OF_REQUEST] = {"vr": "SQ", "Value": items}
    return QueryValues(columns, model)


def _add(attribute: QueryAttribute, header: Dataset, columns: dict[str, str], model: JsonModel) -> None:
    plain = _plain(header, attribute)
    content = _text(header, attribute.keyword) if plain is None else str(plain)
    if attribute.matching != Matching.NONE:
        columns |= comparable(attribute, content)
    if plain is not None:
        model[attribute.tag] = {"vr": attribute.vr, "Value": [plain]}
    elif content:
        with suppress(Exception):  # of no valid value, which is then not returned
            model[attribute.tag] = element_model(header[tag(attribute.keyword)])


def _plain(header: Dataset, attribute: QueryAttribute) -> str | int | None:
    """Return a UID or a whole number from its bytes, at a tenth of pydicom's price; None where it is not as usual."""
    found = raw_values.encoded(header, attribute.keyword, attribute.vr)
    if not found or attribute.vr not in ("UI", "US", "IS"):
        return None
    if attribute.vr == "US":
        return int.from_bytes(found, "little") if len(found) == 2 else None
    text = found.rstrip(b"\0 ").lstrip(b" ")
    if attribute.vr == "IS":
        return int(text) if text.isdigit() and len(text) <= 9 else None
    return text.decode() if _UID.fullmatch(text) else None


def _requests(header: Dataset) -> list[Dataset]:
    try:
        return list(sequence(header, REQUEST) or ())[:MAX_REQUESTS]
    except StudyRefused:
        return []


def _listed(items: list[Dataset], attribute: QueryAttribute) -> str:
    """Return the values of all items, each between backslashes, which no value holds (PS3.5 6.2)."""
    texts = [content for item in items if (content := _text(item, attribute.keyword))]
    return "".join(f"\\{content}" for content in texts) + "\\" if texts else ""


def _request(item: Dataset) -> JsonModel:
    texts = {one: _text(item, one.keyword) for one in ATTRIBUTES if one.keyword.startswith(REQUEST)}
    return {one.tag.partition(".")[2]: {"vr": one.vr, "Value": [content]} for one, content in texts.items() if content}


def _text(dataset: Dataset, keyword: str) -> str:
    """A value as text in Unicode that every database takes; "" for one that is longer than any valid value."""
    content = value(dataset, keyword.rpartition(".")[2])
    several = content if isinstance(content, MultiValue) else ["" if content is None else content]
    joined = "\\".join(map(str, several))  # a backslash within one value is a common mistake
    clean = composed(joined.replace("\0", "").encode("utf-8", "replace").decode()).strip(" ")
    return clean if len(clean) <= MAX_VALUE_CHARACTERS else ""
