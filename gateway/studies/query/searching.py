"""A search for studies, series or instances among those that a caller may see (PS3.18 10.6)."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, FromClause, Row, Select, Table, and_, select, text

from gateway.dicom.web.json_model import CHARACTER_SET, UNICODE, JsonModel
from gateway.dicom.web.query_attributes import QueryLevel, named
from gateway.studies.query.counting import Counts, Scope
from gateway.studies.query.matching import Matcher
from gateway.studies.query.query_parameters import LEVELS, Query, Term
from gateway.studies.query.query_rows import SERIES, SOP, STUDY
from gateway.studies.query.query_tables import dicom_instances, dicom_series, dicom_studies
from gateway.studies.store import Store

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


_BY_INDEX = text(
    "SELECT "
    + ", ".join(
        f"set_config('{name}', 'off', true)" for name in ("enable_hashjoin", "enable_mergejoin", "enable_sort", "jit")
    )
)
"""For this transaction, have PostgreSQL walk an index in the order of the answer, and stop after a page.

It takes the UIDs of a study and of its series for independent, expects too few rows, and would join and sort them all:
seconds among a million instances. A sort that is needed is done in any case.
"""


class Match(NamedTuple):
    """One study, series or instance: its UIDs from the study down, and its model."""

    uids: tuple[str, ...]
    model: JsonModel


class Matches(NamedTuple):
    """The matches of a page, and whether more follow."""

    matches: list[Match]
    more: bool


def search(store: Store, owners: Sequence[str], query: Query) -> Matches:
    """Return what the callers ``owners`` have, the first of them first where several have the same.

    Raises QueryRefused for a value that is not of its attribute, Unavailable.
    """
    scope = Scope(tuple(owners), store.retention.since)
    with store.index.reading() as connection:
        if not store.index.is_sqlite:
            connection.execute(_BY_INDEX)
        statement = _statement(query, scope, Matcher(connection.dialect.name))
        rows = connection.execute(statement.offset(query.offset).limit(query.limit + 1)).all()
        page = rows[: query.limit]
        counts = Counts(connection, scope, query.level, [row[0] for row in page])
    return Matches([_match(query, row, counts) for row in page], len(rows) > query.limit)


def _statement(query: Query, scope: Scope, matcher: Matcher) -> Select[Any]:
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


def _condition(term: Term, scope: Scope, matcher: Matcher) -> ColumnElement[bool] | None:
    attribute = term.attribute
    if attribute.keyword != "ModalitiesInStudy":
        return matcher.condition(attribute, term.value, TABLES[attribute.level])
    modality = named("Modality")
    assert modality is not None
    condition = matcher.condition(modality, term.value, dicom_series)
    if condition is None:
        return None
    same = dicom_series.c[STUDY] == dicom_studies.c[STUDY]  # whoever sent them, as its value is returned
    return (
        select(dicom_series.c.caller).where(same, scope.rows(dicom_series), condition).correlate(dicom_studies).exists()
    )


def _match(query: Query, row: Row[Any], counts: Counts) -> Match:
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
