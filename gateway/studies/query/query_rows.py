"""Rows of the tables of QIDO-RS: added with what a caller sends, removed with what it no longer has."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, and_, delete, func, insert, select, update

from gateway.dicom.web.instance_attributes import InstanceAttributes, QueryValues
from gateway.studies.instance_rows import pieces
from gateway.studies.query.query_tables import dicom_counts, dicom_instances, dicom_series, dicom_studies

K = TypeVar("K", bound=tuple[str, ...])
STUDY, SERIES, SOP = "study_instance_uid", "series_instance_uid", "sop_instance_uid"


@dataclass(frozen=True, slots=True)
class Described:
    """A held instance with its attributes."""

    sha256: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    attributes: InstanceAttributes


def add(connection: Connection, caller: str, described: Iterable[Described], now: float) -> None:
    """Add what a caller holds since ``now``; the latest instance gives the values of its study and its series.

    What is added of an earlier time, as by filling, replaces nothing later.
    """
    instances = list(described)
    if not instances:
        return
    rows = [_instance_row(caller, one, now) for one in instances]
    _remove(connection, dicom_instances, caller, "sha256", (row["sha256"] for row in rows))
    connection.execute(insert(dicom_instances), rows)
    series = {(one.study_instance_uid, one.series_instance_uid): one.attributes.series for one in instances}
    _replace(connection, dicom_series, (STUDY, SERIES), caller, series, now)
    studies = {(one.study_instance_uid,): one.attributes.study for one in instances}
    _replace(connection, dicom_studies, (STUDY,), caller, studies, now)


def _instance_row(caller: str, one: Described, now: float) -> dict[str, Any]:
    uids = {name: getattr(one, name) for name in ("sha256", STUDY, SERIES, SOP)}
    return {"caller": caller, "held_at": now, **_stored(one.attributes.instance), **uids}


def _stored(values: QueryValues) -> dict[str, str]:
    return {**values.columns, "attributes": json.dumps(values.model, separators=(",", ":"))}


def _replace(
    connection: Connection,
    table: Table,
    keys: tuple[str, ...],
    caller: str,
    rows: Mapping[K, QueryValues],
    now: float,
) -> None:
    new = []
    for key, values in rows.items():
        named = dict(zip(keys, key, strict=True))
        same = and_(table.c.caller == caller, *(table.c[name] == value for name, value in named.items()))
        if connection.execute(select(table.c.held_at).where(same, table.c.held_at > now)).first() is None:
            connection.execute(delete(table).where(same))
            new.append({"caller": caller, "held_at": now, **_stored(values), **named})
    if new:
        connection.execute(insert(table), new)


def _remove(connection: Connection, table: Table, caller: str, column: str, values: Iterable[str]) -> None:
    for some in pieces(values):
        connection.execute(delete(table).where(table.c.caller == caller, table.c[column].in_(some)))


def prune(connection: Connection, studies: Iterable[str] | None = None) -> None:
    """Remove rows of series and studies, of some or of all, that have no instance any more."""
    wanted: Iterator[list[str] | None] = iter([None]) if studies is None else iter(pieces(studies))
    for some in wanted:
        for table, keys in ((dicom_series, (STUDY, SERIES)), (dicom_studies, (STUDY,))):
            same = (dicom_instances.c[name] == table.c[name] for name in ("caller", *keys))
            left = select(dicom_instances.c.sha256).where(*same).exists()
            some_of = [] if some is None else [table.c[STUDY].in_(some)]
            connection.execute(delete(table).where(~left, *some_of))
        counts_of = [] if some is None else [dicom_counts.c[STUDY].in_(some)]
        connection.execute(delete(dicom_counts).where(dicom_counts.c.instances == 0, *counts_of))


def renew_oldest(connection: Connection, since: float) -> None:
    """Look up the oldest instance of each series again that had one from before ``since``, which is removed by now."""
    same = (dicom_instances.c[name] == dicom_counts.c[name] for name in ("caller", STUDY, SERIES))
    oldest = select(func.min(dicom_instances.c.held_at)).where(*same).scalar_subquery()
    old = dicom_counts.c.oldest_at < since
    connection.execute(update(dicom_counts).where(old, dicom_counts.c.instances > 0).values(oldest_at=oldest))


def clear(connection: Connection) -> None:
    """Remove all rows, where DICOMweb is off."""
    for table in (dicom_instances, dicom_counts, dicom_series, dicom_studies):
        connection.execute(delete(table))
