"""Stored instances of one caller, given to another: the same files, with the rows by which that one finds them."""

from collections.abc import Sequence

from sqlalchemy import Connection, Table, delete, insert, literal, select

from gateway.studies import instance_rows
from gateway.studies.manifests import ManifestEntry
from gateway.studies.query.query_tables import dicom_instances, dicom_series, dicom_studies
from gateway.studies.tables import instances


def grant(connection: Connection, owner: str, caller: str, digests: Sequence[str], now: float) -> None:
    """Let ``caller`` hold instances that ``owner`` holds; what it had under their UIDs before goes."""
    names = ("sop_instance_uid", "series_instance_uid", "study_instance_uid", "size", "sha256")
    for some in instance_rows.pieces(digests):
        query = select(*(instances.c[name] for name in names)).where(instances.c.sha256.in_(some))
        entries = [ManifestEntry(*row) for row in connection.execute(query)]
        instance_rows.hold(connection, caller, entries, now)
        studies = sorted({entry.study_instance_uid for entry in entries})
        series = sorted({entry.series_instance_uid for entry in entries})
        for table, name, values in (
            (dicom_instances, "sha256", some),
            (dicom_series, "series_instance_uid", series),
            (dicom_studies, "study_instance_uid", studies),
        ):
            _copy(connection, table, owner, caller, name, values)


def _copy(connection: Connection, table: Table, owner: str, caller: str, name: str, values: Sequence[str]) -> None:
    """Copy the rows of searches, where DICOMweb is on and there are some."""
    chosen = table.c[name].in_(values)
    found = select(*(literal(caller) if column.name == "caller" else column for column in table.c))
    connection.execute(delete(table).where(table.c.caller == caller, chosen))
    names = [column.name for column in table.c]
    connection.execute(insert(table).from_select(names, found.where(table.c.caller == owner, chosen)))
