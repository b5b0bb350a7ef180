"""Keywords of attributes whose values are text, and those values in a header, for rules of an operator.

``Modality`` names an attribute, and ``ProcedureCodeSequence.CodeValue`` one in any item of a sequence.
"""

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterator

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_dict, tag_for_keyword
from pydicom.multival import MultiValue

from gateway.dicom.reading.attributes import sequence, value
from gateway.dicom.reading.files import Source
from gateway.dicom.reading.instances import header_of
from gateway.dicom.reading.raw_values import uid
from gateway.errors import StudyRefused

QUERIED = {
    "ModalitiesInStudy": "Modality",
    "SOPClassesInStudy": "SOPClassUID",
    "NumberOfStudyRelatedSeries": "",
    "NumberOfStudyRelatedInstances": "",
    "NumberOfSeriesRelatedInstances": "",
}
"""Attributes of queries, which no instance has, and the one of an instance that is meant, "" without one."""
MAX_ITEMS = 100
"""Items of a sequence that are looked at; a procedure has a handful of codes."""
MAX_CHARACTERS = 256
"""Characters of a value that are compared; a text of one line has 64 (LO, PS3.5 6.2), and UIDs too."""
_BINARY = {"AT", "OB", "OB or OW", "OD", "OF", "OL", "OV", "OW", "UN"}
_NUMBERS = {"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NESTED = re.compile(r"(?<=Sequence)\.")


def fault_of(keyword: str) -> str:
    """Return a sentence on why no text can be found by a keyword, "" where it can."""
    *sequences, last = _NESTED.split(keyword)
    for part in (*sequences, last):
        if not part or tag_for_keyword(part) is None:
            near = difflib.get_close_matches(part, keyword_dict, n=1)
            return f"{part!r} is no keyword of DICOM (PS3.6){f'; {near[0]} is' if near else ''}."
    if last in QUERIED:
        meant = f"; {QUERIED[last]} is one" if QUERIED[last] else ""
        return f"{last} is an attribute of queries and not of instances{meant}."
    vr = dictionary_VR(last)
    if vr == "SQ":
        return f"{last} is a sequence; name an attribute in it, such as {last}.CodeValue."
    return f"{last} has no text that could match." if vr in _BINARY else ""


def read_texts(source: Source, keywords: Collection[str]) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Return the Series Instance UID of a file, and its ``texts`` by keyword. Raises as ``instances.header_of``."""
    header = header_of(source)
    return uid(header, "SeriesInstanceUID"), {keyword: texts(header, keyword) for keyword in keywords}


def texts(header: Dataset, keyword: str) -> tuple[str, ...]:
    """Return each value of an attribute in Unicode's NFC, without spaces at its ends.

    It is ("",) where the attribute is absent, empty or unreadable.
    """
    return tuple(_texts(header, _NESTED.split(keyword))) or ("",)


def _texts(header: Dataset, path: list[str]) -> Iterator[str]:
    if len(path) > 1:
        try:
            items = sequence(header, path[0]) or ()
        except StudyRefused:
            return
        for item in items[:MAX_ITEMS]:
            yield from _texts(item, path[1:])
        return
    content = value(header, path[0])
    for each in content if isinstance(content, MultiValue) else () if content is None else (content,):
        yield comparable_text(path[0], str(each)[:MAX_CHARACTERS].strip(" \0"))


def comparable_text(keyword: str, text: str) -> str:
    """Return a text as it is compared: in Unicode's NFC, and a number of an attribute of numbers without zeros."""
    if dictionary_VR(keyword.rpartition(".")[2]) in _NUMBERS and _NUMBER.fullmatch(text):
        return f"{float(text):.12g}"  # a slice of 1 mm is stated as 1.0, 1.00 or 1 (DS, PS3.5 6.2)
    return unicodedata.normalize("NFC", text)
