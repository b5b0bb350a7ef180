"""A caller's results by what they belong to: study, series, model, version, time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select

from gateway.errors import ResultNotFound
from gateway.studies.instance_rows import MAX_PAGE
from gateway.studies.results import visible
from gateway.studies.store import Store
from gateway.studies.tables import result_instances, results

MadeFrom = dict[str, list[tuple[str, str, int]]]
"""By the id of a result: study, series, and how many instances of it."""


@dataclass(frozen=True)
class Summary:
    """A result without its bytes. ``created_at`` is seconds since 1970, ``size`` bytes."""

    id: str
    model: str
    version: str
    created_at: float
    input_digest: str
    output_digest: str
    model_digest: str
    weights_digest: str
    parameters_digest: str
    size: int
    studies: tuple[str, ...]
    series: tuple[str, ...]
    instances: int


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A filter of results; a member that is unset matches all. Times are seconds since 1970, ``until`` excluded."""

    study: str = ""
    series: str = ""
    model: str = ""
    version: str = ""
    since: float | None = None
    until: float | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """Return the conditions on rows of ``results``."""
        for name in ("model", "version"):
            if getattr(self, name):
                yield results.c[name] == getattr(self, name)
        for name in ("study", "series"):
            if uid := getattr(self, name):
                column = result_instances.c[f"{name}_instance_uid"]
                yield results.c.id.in_(select(result_instances.c.result_id).where(column == uid))
        if self.since is not None:
            yield results.c.created_at >= self.since
        if self.until is not None:
            yield results.c.created_at < self.until


def list_results(store: Store, caller: str, wanted: Filter, *, limit: int, after: str = "") -> list[Summary]:
    """A caller's results, the newest first, those behind the result ``after``; ResultNotFound where that is none."""
    mine = visible(caller, store.retention.since)
    with store.index.reading() as connection:
        behind = list(_behind(connection, mine, after))
        query = select(results).where(*mine, *wanted.conditions(), *behind)
        query = query.order_by(results.c.created_at.desc(), results.c.id).limit(min(limit, MAX_PAGE))
        rows = connection.execute(query).all()
        made_from = _made_from(connection, [row.id for row in rows])
    return [_summary(row, made_from.get(row.id, [])) for row in rows]


def _behind(connection: Connection, mine: Iterable[ColumnElement[bool]], after: str) -> Iterator[ColumnElement[bool]]:
    if not after:
        return
    query = select(results.c.created_at).where(*mine, results.c.id == after)
    created = connection.execute(query).scalar_one_or_none()
    if created is None:
        raise ResultNotFound("There is no such result to continue from; list from the beginning.")
    yield or_(results.c.created_at < created, and_(results.c.created_at == created, results.c.id > after))


def _made_from(connection: Connection, ids: list[str]) -> MadeFrom:
    columns = (
        result_instances.c.result_id,
        result_instances.c.study_instance_uid,
        result_instances.c.series_instance_uid,
    )
    query = select(*columns, func.count()).where(columns[0].in_(ids)).group_by(*columns)
    made_from: MadeFrom = {}
    for id, study, series, count in connection.execute(query):
        made_from.setdefault(id, []).append((study, series, count))
    return made_from


def _summary(row: Row[Any], made_from: list[tuple[str, str, int]]) -> Summary:
    return Summary(
        **{name: getattr(row, name) for name in Summary.__annotations__ if name in results.c},
        studies=tuple(sorted({study for study, _, _ in made_from})),
        series=tuple(sorted(series for _, series, _ in made_from)),
        instances=sum(count for _, _, count in made_from),
    )
