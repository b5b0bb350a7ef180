"""Rows of the tables of QIDO-RS: added with what a caller sends, removed with what it no longer has."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update

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
    """Add what a caller holds since ``now``, and has no row of; the latest gives the values of its study and series.

    What is added of an earlier time, as by filling, replaces nothing later.
    """
    instances = list(described)
    if not instances:
        return
    connection.execute(insert(dicom_instances), [_instance_row(caller, one, now) for one in instances])
    series = {(one.study_instance_uid, one.series_instance_uid): one.attributes.series for one in instances}
    _SERIES.replace(connection, caller, series, now)
    studies = {(one.study_instance_uid,): one.attributes.study for one in instances}
    _STUDIES.replace(connection, caller, studies, now)


def _instance_row(caller: str, one: Described, now: float) -> dict[str, Any]:
    uids = {name: getattr(one, name) for name in ("sha256", STUDY, SERIES, SOP)}
    return {"caller": caller, "held_at": now, **_stored(one.attributes.instance), **uids}


def _stored(values: QueryValues) -> dict[str, str]:
    return {**values.columns, "attributes": json.dumps(values.model, separators=(",", ":"))}


class _Level:
    """The rows of one level above the instances, with statements that are made once."""

    def __init__(self, table: Table, *keys: str) -> None:
        self._table, self._keys = table, keys
        same = [table.c.caller == bindparam("of_caller"), *(table.c[key] == bindparam(f"of_{key}") for key in keys)]
        self._renew = update(table).where(*same, table.c.held_at <= bindparam("now"))
        self._find = select(table.c.held_at).where(*same)

    def replace(self, connection: Connection, caller: str, rows: Mapping[K, QueryValues], now: float) -> None:
        """Give each row its values of ``now``, unless it has later ones."""
        for key, values in rows.items():
            named = {"caller": caller, **dict(zip(self._keys, key, strict=True))}
            of = {f"of_{name}": value for name, value in named.items()}
            row = {**_stored(values), **named, "held_at": now}
            if connection.execute(self._renew, {**row, **of, "now": now}).rowcount:
                continue
            if connection.execute(self._find, of).first() is None:
                connection.execute(insert(self._table), row)


_SERIES, _STUDIES = _Level(dicom_series, STUDY, SERIES), _Level(dicom_studies, STUDY)


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
