"""The page's search among stored studies: what a person types, as a query of QIDO-RS (PS3.18 10.6)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gateway.contract.requests import JSON
from gateway.dicom.web.query_attributes import Matching, QueryLevel
from gateway.errors import ParameterRefused
from gateway.studies.query.query_parameters import MAX_OFFSET, Query, Term, read_query
from gateway.studies.query.searching import Match

WILD = frozenset("*?")


def _name(typed: str) -> str:
    """Return the family name before a comma and the given names behind it, each by its beginning."""
    return "*^".join(part.strip() for part in typed.split(",")) + "*"


TYPED: Mapping[str, Callable[[str], str]] = {
    "PatientName": _name,
    "PatientID": "{}*".format,
    "AccessionNumber": "{}*".format,
    "StudyDescription": "*{}*".format,
    "ModalitiesInStudy": str,
    "StudyDate": str,
}
"""The attributes of a search, and the pattern of each for a text without a wildcard."""


def typed_query(words: Mapping[str, str], limit: int, after: str) -> Query:
    """Return the query for ``limit`` studies behind the first ``after``, the latest first.

    Raises ParameterRefused for an ``after`` that is no place in a list, QueryRefused for a value that is too long.
    """
    if not (after.isascii() and after.isdigit() and len(after) <= 10 and int(after) <= MAX_OFFSET):
        raise ParameterRefused([("/after", "after should be the next that the page before states.")])
    typed = {name: text for name in TYPED if (text := words.get(name, "").strip())}
    pairs = [(name, text if WILD & set(text) else TYPED[name](text)) for name, text in typed.items()]
    query = read_query(QueryLevel.STUDY, [*pairs, ("limit", str(limit)), ("offset", after)])
    return replace(query, terms=tuple(map(_in_any_case, query.terms)))


def _in_any_case(term: Term) -> Term:
    if term.attribute.keyword != "StudyDescription":
        return term
    return term._replace(attribute=term.attribute._replace(matching=Matching.WORDS))


def listed(match: Match, *, patient: bool) -> JSON:
    """Return a study as the page lists it; it names the patient only where ``patient`` is asked for."""
    words: JSON = {
        "study_instance_uid": match.uids[0],
        "date": _first(match, "00080020") or "",
        "description": _first(match, "00081030") or "",
        "modalities": match.model.get("00080061", {}).get("Value", []),
        "series": _first(match, "00201206"),
        "instances": _first(match, "00201208"),
    }
    if patient:
        name = _first(match, "00100010") or {}
        words["patient"] = {"name": name.get("Alphabetic", ""), "id": _first(match, "00100020") or ""}
    return words


def _first(match: Match, tag: str) -> Any:
    values = match.model.get(tag, {}).get("Value", [])
    return values[0] if values else None
