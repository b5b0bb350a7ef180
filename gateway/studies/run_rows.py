"""Removal of runs with their payloads: by study, by caller, by age. What a run means is in ``gateway.runs``."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, delete, select, update

from gateway.studies import instance_rows
from gateway.studies.blobs import Blobs
from gateway.studies.tables import run_records, run_studies, runs


def keys_of_study(connection: Connection, study: str, caller: str | None) -> list[str]:
    """Return the keys of the runs on a study, a caller's or everybody's (None)."""
    mine = [] if caller is None else [runs.c.caller == caller]
    query = select(runs.c.key).join(run_studies, run_studies.c.key == runs.c.key)
    return list(connection.execute(query.where(run_studies.c.study_instance_uid == study, *mine)).scalars())


def remove(connection: Connection, blobs: Blobs, keys: Sequence[str]) -> int:
    """Remove runs, live ones too, and their payloads; return how many. Readers of a payload finish."""
    for some in instance_rows.pieces(keys):
        _remove_payloads(connection, blobs, run_records.c.key.in_(some))
        connection.execute(delete(runs).where(runs.c.key.in_(some)))
    return len(keys)


def expire(connection: Connection, blobs: Blobs, keys: Sequence[str]) -> int:
    """Remove the payloads of runs and keep their rows, which tell a caller that its run has expired."""
    for some in instance_rows.pieces(keys):
        _remove_payloads(connection, blobs, run_records.c.key.in_(some))
        connection.execute(delete(run_records).where(run_records.c.key.in_(some)))
        connection.execute(delete(run_studies).where(run_studies.c.key.in_(some)))
        connection.execute(update(runs).where(runs.c.key.in_(some)).values(expired=True))
    return len(keys)


def remove_payloads(connection: Connection, blobs: Blobs, key: str, kind: str) -> None:
    """Remove the records of one kind of a run, such as its progress, which a newer one replaces."""
    condition = (run_records.c.key == key) & (run_records.c.kind == kind)
    _remove_payloads(connection, blobs, condition)
    connection.execute(delete(run_records).where(condition))


def _remove_payloads(connection: Connection, blobs: Blobs, condition: ColumnElement[bool]) -> None:
    locations = connection.execute(select(run_records.c.location).where(condition, run_records.c.location != ""))
    blobs.remove(*locations.scalars(), used_too=True)
