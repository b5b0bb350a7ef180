"""A search for studies, series or instances among those that a caller may see (PS3.18 10.6)."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    FromClause,
    Join,
    Row,
    Select,
    Table,
    and_,
    literal_column,
    select,
    text,
    union_all,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

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
        rows = connection.execute(statement).all()
        page = rows[: query.limit]
        counts = Counts(connection, scope, query.level, [row[0] for row in page])
    return Matches([_match(query, row, counts) for row in page], len(rows) > query.limit)


def _statement(query: Query, scope: Scope, matcher: Matcher) -> Select[Any] | CompoundSelect[Any]:
    """Select a page, and one row more, of what each owner has, and merge them: each part ends with its last row."""
    sorting = [column.label(f"sorted_by_{place}") for place, column in enumerate(_order(query))]
    names: list[ColumnElement[str]] = [literal_column(label.name) for label in sorting]
    order = [name.desc() for name in names] if query.level == QueryLevel.STUDY else names
    places = range(len(scope.owners))
    parts = [_of_owner(query, scope, place, matcher).add_columns(*sorting).order_by(*order) for place in places]
    most = query.limit + 1
    if len(parts) == 1:
        return parts[0].offset(query.offset).limit(most)
    pages = (select(part.limit(query.offset + most).subquery()) for part in parts)
    return union_all(*pages).order_by(*order).offset(query.offset).limit(most)


def _of_owner(query: Query, scope: Scope, place: int, matcher: Matcher) -> Select[Any]:
    table = TABLES[query.level]
    above = [TABLES[level] for level in LEVELS[: LEVELS.index(query.level)]]
    columns = [table.c[name] for name in UIDS[query.level]]
    statement = select(*columns, *(one.c.attributes for one in (*above, table)))
    statement = statement.select_from(_joined(_tables(query)))
    statement = statement.where(scope.own(table, KEYS[query.level], place), *_in_path(query, table))
    for term in query.terms:
        condition = _condition(term, scope, matcher)
        if condition is not None:
            statement = statement.where(condition)
    return statement


def _tables(query: Query) -> list[Table]:
    """Return the tables of a query in the order in which they are walked: first the one whose terms leave the fewest.

    A term on a study or a series spares all instances of the others; one on instances alone has an index of its own.
    """
    levels = LEVELS[: LEVELS.index(query.level) + 1]
    named = [term.attribute for term in query.terms]
    by_level = {attribute.level for attribute in named}
    if query.level in by_level and (by_level == {query.level} or any(one.keyword == "SOPInstanceUID" for one in named)):
        return [TABLES[level] for level in reversed(levels)]
    return [TABLES[level] for level in levels]


def _order(query: Query) -> list[ColumnElement[str]]:
    """Return the columns to sort by: the latest study first; series and instances by their UIDs."""
    if query.level == QueryLevel.STUDY:  # one index gives them in this order
        return [_sorted_by(query, dicom_studies.c.study_date), dicom_studies.c[STUDY]]
    walked = _tables(query)
    owned = {name: next(table for table in walked if name in table.c) for name in UIDS[query.level]}
    first, *others = (table.c[name] for name, table in owned.items())
    return [_sorted_by(query, first), *others]


def _sorted_by(query: Query, column: ColumnElement[str]) -> ColumnElement[str]:
    """Return the column to sort by; of a query with few matches an expression, which no index gives in order.

    SQLite would walk the index of the order through all studies, in place of that of the few.
    """
    few = any(term.attribute.keyword in SELECTIVE and term.value[:1] not in ("", "*", "?") for term in query.terms)
    return column.concat("") if few else column


class OrderedJoin(Join):
    """A join that is walked from left to right by SQLite, which has no statistics here to choose by."""

    inherit_cache = True


@compiles(OrderedJoin, "sqlite")
def _cross_join(join: OrderedJoin, compiler: SQLCompiler, **options: Any) -> str:
    """Write CROSS JOIN, the sides of which SQLite leaves in their order."""
    options |= {"asfrom": True, "from_linter": None}
    left, right = compiler.process(join.left, **options), compiler.process(join.right, **options)
    assert join.onclause is not None
    return f"{left} CROSS JOIN {right} ON {compiler.process(join.onclause, from_linter=None)}"


def _joined(tables: Sequence[Table]) -> FromClause:
    """Join the rows of a study, its series and its instances, of the same caller."""
    joined: FromClause = tables[0]
    for place, table in enumerate(tables[1:], start=1):
        conditions = [table.c[key] == other.c[key] for other in tables[:place] for key in _shared_keys(table, other)]
        joined = OrderedJoin(joined, table, and_(*conditions))
    return joined


def _shared_keys(table: Table, other: Table) -> list[str]:
    return ["caller", *(name for name in (STUDY, SERIES) if name in table.c and name in other.c)]


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
    models = [json.loads(text) for text in values[len(uids) : 2 * len(uids)]]
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
