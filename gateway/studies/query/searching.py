"""A search for studies, series or instances among those that a caller may see (PS3.18 10.6)."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, FromClause, Row, Select, Table, and_, func, or_, select

from gateway.dicom.web.json_model import CHARACTER_SET, UNICODE, JsonModel
from gateway.dicom.web.query_attributes import Matching, QueryAttribute, QueryLevel, is_defined, named
from gateway.errors import QueryRefused
from gateway.studies.instance_rows import MAX_PAGE
from gateway.studies.query.matching import Matcher
from gateway.studies.query.query_rows import SERIES, SOP, STUDY
from gateway.studies.query.query_tables import dicom_instances, dicom_series, dicom_studies
from gateway.studies.store import Store

MAX_OFFSET = 1 << 31
LEVELS = tuple(QueryLevel)
TABLES: dict[QueryLevel, Table] = {
    QueryLevel.STUDY: dicom_studies,
    QueryLevel.SERIES: dicom_series,
    QueryLevel.INSTANCE: dicom_instances,
}
KEYS = {QueryLevel.STUDY: (STUDY,), QueryLevel.SERIES: (STUDY, SERIES), QueryLevel.INSTANCE: (SOP,)}
"""What tells the rows of one level apart, whoever sent them."""
UIDS = {QueryLevel.STUDY: (STUDY,), QueryLevel.SERIES: (STUDY, SERIES), QueryLevel.INSTANCE: (STUDY, SERIES, SOP)}

SELECTIVE = (
    "PatientName",
    "PatientID",
    "AccessionNumber",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
)
"""Attributes with an index, and with few matches for a value that begins with no wildcard."""


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
    fuzzy: bool = False


class Match(NamedTuple):
    """One study, series or instance: its UIDs from the study down, and its model."""

    uids: tuple[str, ...]
    model: JsonModel


class Matches(NamedTuple):
    """The matches of a page, and whether more follow."""

    matches: list[Match]
    more: bool


def read_query(level: QueryLevel, pairs: Iterable[tuple[str, str]], *, study: str = "", series: str = "") -> Query:
    """Read the parameters of a query. Raises QueryRefused for an unknown attribute or an invalid number."""
    terms, options = list[Term](), dict[str, str]()
    for name, value in pairs:
        if name == "includefield":
            _check_fields(value)
        elif name in ("limit", "offset", "fuzzymatching", "accept"):
            options[name] = value
        else:
            terms.append(Term(_matchable(name, level), value))
    limit = _count("limit", options.get("limit", str(MAX_PAGE)))
    offset = _count("offset", options.get("offset", "0"))
    fuzzy = options.get("fuzzymatching", "false").lower() == "true"
    return Query(
        level=level,
        study=study,
        series=series,
        terms=tuple(terms),
        limit=min(limit, MAX_PAGE),
        offset=offset,
        fuzzy=fuzzy,
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


def search(store: Store, owners: Sequence[str], query: Query) -> Matches:
    """Return what the callers ``owners`` have, the first of them first where several have the same.

    Raises QueryRefused for a value that is not of its attribute, Unavailable.
    """
    scope = _Scope(tuple(owners), store.retention.since)
    with store.index.reading() as connection:
        statement = _statement(query, scope, Matcher(connection.dialect.name))
        rows = connection.execute(statement.offset(query.offset).limit(query.limit + 1)).all()
        page = rows[: query.limit]
        counts = _Counts(connection, scope, query.level, [row[0] for row in page])
    return Matches([_match(query, row, counts) for row in page], len(rows) > query.limit)


class _Scope(NamedTuple):
    owners: tuple[str, ...]
    since: float

    def rows(self, table: Table) -> ColumnElement[bool]:
        """Rows of any of the owners that are not too old."""
        return and_(table.c.caller.in_(self.owners), table.c.held_at >= self.since)

    def own(self, table: Table, keys: tuple[str, ...]) -> ColumnElement[bool]:
        """The same, but each thing once: that of the first owner who has it."""
        earlier = table.alias()
        ranked = []
        for place, owner in enumerate(self.owners):
            theirs = [earlier.c.caller.in_(self.owners[:place]), earlier.c.held_at >= self.since]
            same = (earlier.c[key] == table.c[key] for key in keys)
            hidden = [~select(earlier.c.caller).where(*theirs, *same).exists()] if place else []
            ranked.append(and_(table.c.caller == owner, *hidden))
        return and_(or_(*ranked), table.c.held_at >= self.since)


def _statement(query: Query, scope: _Scope, matcher: Matcher) -> Select[Any]:
    table = TABLES[query.level]
    above = [TABLES[level] for level in LEVELS[: LEVELS.index(query.level)]]
    columns = [table.c[name] for name in UIDS[query.level]]
    statement = select(*columns, *(one.c.attributes for one in (*above, table)))
    statement = statement.select_from(_joined(table, above))
    statement = statement.where(scope.own(table, KEYS[query.level]), *_in_path(query, table))
    for term in query.terms:
        condition = _condition(term, scope, matcher)
        if condition is not None:
            statement = statement.where(condition)
    if query.level == QueryLevel.STUDY:  # the latest first; one index gives them in this order
        return statement.order_by(_sorted_by(query, table.c.study_date).desc(), table.c[STUDY].desc())
    return statement.order_by(_sorted_by(query, columns[0]), *columns[1:])


def _sorted_by(query: Query, column: ColumnElement[str]) -> ColumnElement[str]:
    """Return the column to sort by; of a query with few matches an expression, which no index gives in order.

    SQLite would walk the index of the order through all studies, in place of that of the few.
    """
    few = any(term.attribute.keyword in SELECTIVE and term.value[:1] not in ("", "*", "?") for term in query.terms)
    return column.concat("") if few else column


def _joined(table: Table, above: list[Table]) -> FromClause:
    """Join each row with that of its study and its series, of the same caller."""
    joined: FromClause = table
    for upper in above:
        keys = ("caller", *UIDS[_level_of(upper)])
        joined = joined.join(upper, and_(*(upper.c[key] == table.c[key] for key in keys)))
    return joined


def _level_of(table: Table) -> QueryLevel:
    return next(level for level, one in TABLES.items() if one is table)


def _in_path(query: Query, table: Table) -> Iterator[ColumnElement[bool]]:
    if query.study:
        yield table.c[STUDY] == query.study
    if query.series:
        yield table.c[SERIES] == query.series


def _condition(term: Term, scope: _Scope, matcher: Matcher) -> ColumnElement[bool] | None:
    attribute = term.attribute
    if attribute.keyword != "ModalitiesInStudy":
        return matcher.condition(attribute, term.value, TABLES[attribute.level])
    modality = named("Modality")
    assert modality is not None
    condition = matcher.condition(modality, term.value, dicom_series)
    if condition is None:
        return None
    same = (dicom_series.c[key] == dicom_studies.c[key] for key in ("caller", STUDY))
    return (
        select(dicom_series.c.caller)
        .where(*same, scope.rows(dicom_series), condition)
        .correlate(dicom_studies)
        .exists()
    )


class _Counts:
    """The numbers of series and instances, and the modalities, of the studies of a page."""

    def __init__(self, connection: Connection, scope: _Scope, level: QueryLevel, studies: Sequence[str]) -> None:
        self.series: dict[str, dict[str, int]] = {}
        self.modalities: dict[str, set[str]] = {}
        if level == QueryLevel.INSTANCE or not studies:
            return
        sop, uids = dicom_instances.c[SOP], [dicom_instances.c[name] for name in (STUDY, SERIES)]
        count = func.count() if len(scope.owners) == 1 else func.count(sop.distinct())
        of_page = uids[0].in_(set(studies))
        statement = select(*uids, count).where(scope.rows(dicom_instances), of_page).group_by(*uids)
        for row in connection.execute(statement):
            study, series, number = row[0], row[1], row[2]
            self.series.setdefault(study, {})[series] = number
        if level == QueryLevel.STUDY:
            self._add_modalities(connection, scope, studies)

    def _add_modalities(self, connection: Connection, scope: _Scope, studies: Sequence[str]) -> None:
        columns = dicom_series.c[STUDY], dicom_series.c.modality
        wanted = select(*columns).where(scope.rows(dicom_series), columns[0].in_(set(studies))).distinct()
        for study, modality in connection.execute(wanted):
            self.modalities.setdefault(study, set()).add(modality)

    def model(self, level: QueryLevel, uids: tuple[str, ...]) -> JsonModel:
        """Return the attributes that are counted, for a study or a series."""
        if level == QueryLevel.INSTANCE:
            return {}
        if level == QueryLevel.SERIES:
            return {"00201209": _integer(self.series.get(uids[0], {}).get(uids[1], 0))}
        numbers = self.series.get(uids[0], {}).values()
        modalities = sorted(self.modalities.get(uids[0], set()) - {""})
        return {
            **({"00080061": {"vr": "CS", "Value": modalities}} if modalities else {}),
            "00201206": _integer(len(numbers)),
            "00201208": _integer(sum(numbers)),
        }


def _integer(number: int) -> dict[str, Any]:
    return {"vr": "IS", "Value": [number]}


def _match(query: Query, row: Row[Any], counts: _Counts) -> Match:
    """The attributes of all levels that the path does not name, and the UIDs of all (PS3.18 tables 10.6.3-3 to -5)."""
    values = [str(value) for value in row]
    uids = tuple(values[: len(UIDS[query.level])])
    models = [json.loads(text) for text in values[len(uids) :]]
    if query.study:
        models[:-1] = [] if query.series or query.level == QueryLevel.SERIES else models[1:-1]
    model: JsonModel = {}
    for part in models:
        model |= part
    model |= {"0020000D": _uid(uids[0]), CHARACTER_SET: UNICODE, "00080056": {"vr": "CS", "Value": ["ONLINE"]}}
    if len(uids) > 1:
        model["0020000E"] = _uid(uids[1])
    model |= counts.model(query.level, uids)
    return Match(uids, dict(sorted(model.items())))


def _uid(text: str) -> dict[str, Any]:
    return {"vr": "UI", "Value": [text]}
