"""The attributes of QIDO-RS: what a query may name, and how it is matched (PS3.18 10.6)."""

import re
from contextlib import suppress
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

MAX_VALUE_CHARACTERS = 256
"""Characters of a value in the table; three groups of a person's name have 194 at most (PS3.5 6.2)."""


_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class QueryLevel(StrEnum):
    """The levels of the query information model."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


class Matching(StrEnum):
    """How a value of a query is compared (PS3.4 C.2.2.2)."""

    UID = "list of UIDs"
    TEXT = "wildcards"
    WORDS = "wildcards, without case"
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
        return _tag(self.keyword)

    @property
    def vr(self) -> str:
        """The value representation in PS3.6."""
        return _vr(self.keyword)

    @property
    def column(self) -> str:
        """``PatientID`` as ``patient_id``."""
        return _column(self.keyword)


@cache
def _tag(keyword: str) -> str:
    return ".".join(f"{int(tag_for_keyword(word) or 0):08X}" for word in keyword.split("."))


@cache
def _vr(keyword: str) -> str:
    return dictionary_VR(keyword.rpartition(".")[2])


@cache
def _column(keyword: str) -> str:
    return _WORDS.sub("_", keyword.rpartition(".")[2]).lower()


_STUDY, _SERIES, _INSTANCE = QueryLevel.STUDY, QueryLevel.SERIES, QueryLevel.INSTANCE
COMPUTED = (
    "ModalitiesInStudy",
    "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
    "NumberOfSeriesRelatedInstances",
)
"""Attributes that are no instance's own."""
REQUEST = "RequestAttributesSequence"

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
