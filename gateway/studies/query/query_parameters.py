"""The parameters of a search, read before any table is (PS3.18 8.3.4, 10.6.1)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.dicom.web.query_attributes import Matching, QueryAttribute, QueryLevel, is_defined, named
from gateway.errors import QueryRefused
from gateway.studies.instance_rows import MAX_PAGE

MAX_OFFSET = 1 << 31
MAX_TERMS = 64
"""Attributes of one query, twice as many as there are; SQLite takes expressions of a depth of 1,000."""
UNSUPPORTED = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
"""Ways of matching that a query may ask for, and that are not implemented (PS3.18 8.3.4.2, 8.3.4.5, 8.3.4.6)."""
LEVELS = tuple(QueryLevel)


class Term(NamedTuple):
    """An attribute with the value that it must match."""

    attribute: QueryAttribute
    value: str


@dataclass(frozen=True, kw_only=True)
class Query:
    """A search on one level; ``study`` and ``series`` are those of the path, "" where it has none."""

    level: QueryLevel
    study: str = ""
    series: str = ""
    terms: tuple[Term, ...] = ()
    limit: int = MAX_PAGE
    offset: int = 0
    unsupported: tuple[str, ...] = ()


def read_query(level: QueryLevel, pairs: Iterable[tuple[str, str]], *, study: str = "", series: str = "") -> Query:
    """Read the parameters of a query. Raises QueryRefused for an unknown attribute or an invalid number."""
    terms, options = list[Term](), dict[str, str]()
    for name, value in pairs:
        if name == "includefield":
            _check_fields(value)
        elif name in ("limit", "offset", "accept", *UNSUPPORTED):
            options[name] = value
        else:
            terms.append(Term(_matchable(name, level), value))
    if len(terms) > MAX_TERMS:
        raise QueryRefused(f"A query has at most {MAX_TERMS} attributes.")
    limit = _count("limit", options.get("limit", str(MAX_PAGE)))
    offset = _count("offset", options.get("offset", "0"))
    unsupported = tuple(name for name in UNSUPPORTED if options.get(name, "").lower() == "true")
    return Query(
        level=level,
        study=study,
        series=series,
        terms=tuple(terms),
        limit=min(limit, MAX_PAGE),
        offset=offset,
        unsupported=unsupported,
    )


def _check_fields(value: str) -> None:
    for word in value.split(","):
        if word and word != "all" and not is_defined(word):
            raise QueryRefused("includefield takes keywords or tags of PS3.6 with commas between, or all.")


def _matchable(name: str, level: QueryLevel) -> QueryAttribute:
    attribute = named(name)
    if attribute is None or attribute.matching == Matching.NONE:
        known = "is an attribute that no query matches here" if is_defined(name) else "is no attribute of PS3.6"
        place = f" ({name})" if is_defined(name) else ""
        raise QueryRefused(f"A parameter{place} {known}; the conformance statement lists those that are matched.")
    if LEVELS.index(attribute.level) > LEVELS.index(level):
        raise QueryRefused(f"{attribute.keyword} is matched on the level {attribute.level} and those below it.")
    return attribute


def _count(name: str, text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else -1
    if not 0 <= number <= MAX_OFFSET:
        raise QueryRefused(f"{name} should be a whole number of 0 or more.")
    return number
