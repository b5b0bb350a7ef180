"""The attributes of QIDO-RS: what a query may name, and their values in one instance (PS3.18 10.6)."""

import re
import unicodedata
from contextlib import suppress
from enum import StrEnum
from typing import BinaryIO, NamedTuple

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from gateway.dicom.reading import fast_headers
from gateway.dicom.reading.attributes import sequence, tag, text, value
from gateway.dicom.reading.elements import Uncommon
from gateway.dicom.reading.files import opened, read_header, refusing
from gateway.dicom.web.json_model import JsonModel, element_model
from gateway.errors import StudyRefused

MAX_VALUE_CHARACTERS = 256
"""Characters of a value in the table; three groups of a person's name have 194 at most (PS3.5 6.2)."""


_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

_INTEGER = re.compile(r"[+-]?[0-9]{1,12}", re.ASCII)


class QueryLevel(StrEnum):
    """The levels of the query information model."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


class Matching(StrEnum):
    """How a value of a query is compared (PS3.4 C.2.2.2)."""

    UID = "list of UIDs"
    TEXT = "wildcards"
    LIST = "wildcards, list"
    NAME = "wildcards, without case, by group"
    DATE = "date or range"
    TIME = "time or range"
    ANY = "wildcards, any item"
    NUMBER = "number"
    NONE = "no matching"


class QueryAttribute(NamedTuple):
    """An attribute: its keyword, or two with a dot for one inside a sequence; ``column`` is that of the table."""

    keyword: str
    level: QueryLevel
    matching: Matching = Matching.NONE

    @property
    def tag(self) -> str:
        """The tag in hexadecimal, or two with a dot."""
        return ".".join(f"{int(tag_for_keyword(word) or 0):08X}" for word in self.keyword.split("."))

    @property
    def vr(self) -> str:
        """The value representation in PS3.6."""
        return dictionary_VR(self.keyword.rpartition(".")[2])

    @property
    def column(self) -> str:
        """``PatientID`` as ``patient_id``."""
        return _WORDS.sub("_", self.keyword.rpartition(".")[2]).lower()


_STUDY, _SERIES, _INSTANCE = QueryLevel.STUDY, QueryLevel.SERIES, QueryLevel.INSTANCE
COMPUTED = (
    "ModalitiesInStudy",
    "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
    "NumberOfSeriesRelatedInstances",
)
"""Attributes that are no instance's own."""
REQUEST = "RequestAttributesSequence"
_TAG_OF_REQUEST = "00400275"
MAX_REQUESTS = 16
"""Items of that sequence in the table: a series answers one request, seldom a few."""

ATTRIBUTES = (
    QueryAttribute("StudyDate", _STUDY, Matching.DATE),
    QueryAttribute("StudyTime", _STUDY, Matching.TIME),
    QueryAttribute("AccessionNumber", _STUDY, Matching.TEXT),
    QueryAttribute("ModalitiesInStudy", _STUDY, Matching.LIST),
    QueryAttribute("ReferringPhysicianName", _STUDY, Matching.NAME),
    QueryAttribute("StudyDescription", _STUDY, Matching.TEXT),
    QueryAttribute("PatientName", _STUDY, Matching.NAME),
    QueryAttribute("PatientID", _STUDY, Matching.TEXT),
    QueryAttribute("PatientBirthDate", _STUDY),
    QueryAttribute("PatientSex", _STUDY),
    QueryAttribute("StudyInstanceUID", _STUDY, Matching.UID),
    QueryAttribute("StudyID", _STUDY, Matching.TEXT),
    QueryAttribute("NumberOfStudyRelatedSeries", _STUDY),
    QueryAttribute("NumberOfStudyRelatedInstances", _STUDY),
    QueryAttribute("Modality", _SERIES, Matching.LIST),
    QueryAttribute("SeriesDescription", _SERIES, Matching.TEXT),
    QueryAttribute("SeriesInstanceUID", _SERIES, Matching.UID),
    QueryAttribute("SeriesNumber", _SERIES, Matching.NUMBER),
    QueryAttribute("NumberOfSeriesRelatedInstances", _SERIES),
    QueryAttribute("PerformedProcedureStepStartDate", _SERIES, Matching.DATE),
    QueryAttribute("PerformedProcedureStepStartTime", _SERIES, Matching.TIME),
    QueryAttribute(f"{REQUEST}.ScheduledProcedureStepID", _SERIES, Matching.ANY),
    QueryAttribute(f"{REQUEST}.RequestedProcedureID", _SERIES, Matching.ANY),
    QueryAttribute("TimezoneOffsetFromUTC", _INSTANCE),
    QueryAttribute("SOPClassUID", _INSTANCE, Matching.UID),
    QueryAttribute("SOPInstanceUID", _INSTANCE, Matching.UID),
    QueryAttribute("InstanceNumber", _INSTANCE, Matching.NUMBER),
    QueryAttribute("Rows", _INSTANCE),
    QueryAttribute("Columns", _INSTANCE),
    QueryAttribute("BitsAllocated", _INSTANCE),
    QueryAttribute("NumberOfFrames", _INSTANCE),
)
"""The attributes of each level that are returned, and matched (PS3.18 tables 10.6.1-5, 10.6.3-3 to 10.6.3-5)."""
NAMED = {name: attribute for attribute in ATTRIBUTES for name in (attribute.keyword, attribute.tag)}
"""Each attribute by its keyword and by its tag."""


class QueryValues(NamedTuple):
    """The values of one level in an instance: by column for matching, and as a JSON model."""

    columns: dict[str, str]
    model: JsonModel


class InstanceAttributes(NamedTuple):
    """What the table knows of an instance."""

    sop_class_uid: str
    study: QueryValues
    series: QueryValues
    instance: QueryValues


def read_query_attributes(file: BinaryIO) -> InstanceAttributes:
    """Read the attributes of one Part 10 file. Raises StudyRefused, NotAnInstance, LimitExceeded."""
    with opened(file), refusing("A DICOM header is broken and cannot be read."):
        try:
            header = fast_headers.read(file)[0]
        except Uncommon:
            header = read_header(file)
        levels = (_values(header, level) for level in QueryLevel)
        return InstanceAttributes(text(header, "SOPClassUID"), *levels)


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
    content = _text(header, attribute.keyword)
    if attribute.matching != Matching.NONE:
        columns |= comparable(attribute, content)
    if content:
        with suppress(Exception):  # of no valid value, which is then not returned
            model[attribute.tag] = element_model(header[tag(attribute.keyword)])


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
    joined = "" if content is None else str(content)
    clean = unicodedata.normalize("NFC", joined.replace("\0", "").encode("utf-8", "replace").decode()).strip(" ")
    return clean if len(clean) <= MAX_VALUE_CHARACTERS else ""


def comparable(attribute: QueryAttribute, content: str) -> dict[str, str]:
    """Return the columns by which a value is matched."""
    if attribute.matching == Matching.NAME:
        groups = [folded_name(group) for group in content.split("=")[:3]]
        return dict(zip(name_columns(attribute), groups + [""] * (3 - len(groups)), strict=True))
    if attribute.matching == Matching.DATE:
        return {attribute.column: content.replace(".", "")}  # as ACR-NEMA wrote it (PS3.5 6.2)
    if attribute.matching == Matching.TIME:
        return {attribute.column: earliest(content.replace(":", "")) if content else ""}
    if attribute.matching == Matching.NUMBER:
        return {attribute.column: whole_number(content)}
    return {attribute.column: content}


def whole_number(content: str) -> str:
    """Return an integer string (PS3.5 6.2) as it is compared, without leading zeros; "" for another text."""
    return str(int(content)) if _INTEGER.fullmatch(content) else ""


def name_columns(attribute: QueryAttribute) -> tuple[str, str, str]:
    """Return the columns of the three component groups of a person's name (PS3.5 6.2.1)."""
    return attribute.column, f"{attribute.column}_ideographic", f"{attribute.column}_phonetic"


def folded_name(group: str) -> str:
    """Return a component group as it is compared: without case, and without empty components at its end."""
    return unicodedata.normalize("NFC", group).casefold().strip(" ").rstrip("^")


_MIDNIGHT, _LAST = "000000.000000", "235959.999999"


def earliest(time: str) -> str:
    """Return the first moment of a time of any precision, as HHMMSS.FFFFFF."""
    return time + _MIDNIGHT[len(time) :]


def latest(time: str) -> str:
    """Return the last moment of a time of any precision, as HHMMSS.FFFFFF."""
    return time + _LAST[len(time) :]


def named(word: str) -> QueryAttribute | None:
    """Return the attribute with this keyword or tag; None for one that the table lacks."""
    return NAMED.get(word) or NAMED.get(word.upper())


def is_defined(word: str) -> bool:
    """Return True for a keyword or a tag of PS3.6, with dots between those inside sequences."""
    parts = word.split(".")
    return all(_is_defined(part) for part in parts)


def _is_defined(part: str) -> bool:
    if len(part) == 8:
        with suppress(ValueError):
            return bool(keyword_for_tag(int(part, 16)))
    return tag_for_keyword(part) is not None
