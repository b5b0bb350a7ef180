"""Values as they are compared: the same for what is stored and for what a query names (PS3.4 C.2.2.2)."""

import re
import unicodedata

from gateway.dicom.web.query_attributes import Matching, QueryAttribute

_INTEGER = re.compile(r"[+-]?[0-9]{1,12}", re.ASCII)
DATE = re.compile(r"[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])", re.ASCII)
TIME = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9]([0-5][0-9]|60)?(?<=[0-9]{6})(\.[0-9]{1,6})?|[0-5][0-9])?", re.ASCII)


def comparable(attribute: QueryAttribute, content: str) -> dict[str, str]:
    """Return the columns by which a value is matched."""
    if attribute.matching == Matching.NAME:
        groups = [folded_name(group) for group in content.split("=")[:3]]
        return dict(zip(name_columns(attribute), groups + [""] * (3 - len(groups)), strict=True))
    if attribute.matching == Matching.DATE:
        return {attribute.column: _valid(DATE, content.replace(".", ""))}  # as ACR-NEMA wrote it (PS3.5 6.2)
    if attribute.matching == Matching.TIME:
        return {attribute.column: earliest(time) if (time := _valid(TIME, content.replace(":", ""))) else ""}
    if attribute.matching == Matching.NUMBER:
        return {attribute.column: whole_number(content)}
    return {attribute.column: content}


def _valid(form: re.Pattern[str], content: str) -> str:
    """Return a date or a time; "" for another text, which would be later than all in a range."""
    return content if form.fullmatch(content) else ""


def whole_number(content: str) -> str:
    """Return an integer string (PS3.5 6.2) as it is compared, without leading zeros; "" for another text."""
    return str(int(content)) if _INTEGER.fullmatch(content) else ""


def name_columns(attribute: QueryAttribute) -> tuple[str, str, str]:
    """Return the columns of the three component groups of a person's name (PS3.5 6.2.1)."""
    return attribute.column, f"{attribute.column}_ideographic", f"{attribute.column}_phonetic"


def composed(text: str) -> str:
    """Return a text in Unicode's NFC: an e with an accent may be typed as one code point or as two."""
    return unicodedata.normalize("NFC", text)


def folded_name(group: str) -> str:
    """Return a component group as it is compared: without case, and without empty components at its end.

    Case is folded between two normalizations, since folding may take a character apart (Unicode 3.13, D145).
    """
    return composed(unicodedata.normalize("NFD", group).casefold()).strip(" ").rstrip("^")


_MIDNIGHT, _LAST = "000000.000000", "235959.999999"


def earliest(time: str) -> str:
    """Return the first moment of a time of any precision, as HHMMSS.FFFFFF."""
    return time + _MIDNIGHT[len(time) :]


def latest(time: str) -> str:
    """Return the last moment of a time of any precision, as HHMMSS.FFFFFF."""
    return time + _LAST[len(time) :]
