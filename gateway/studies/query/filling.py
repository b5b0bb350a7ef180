"""Filling the tables of QIDO-RS with what was stored while DICOMweb was off: once at each start, beside requests."""

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress

from sqlalchemy import ColumnElement, and_, or_, select, true

from gateway.dicom.web.instance_attributes import AttributeReader
from gateway.errors import GatewayError
from gateway.spool.disk import open_regular
from gateway.studies.blobs import Spoiled
from gateway.studies.instance_rows import HeldInstance
from gateway.studies.query import query_rows
from gateway.studies.query.query_tables import dicom_instances
from gateway.studies.store import Store
from gateway.studies.tables import holdings, instances

logger = logging.getLogger("gateway")

AT_ONCE = 50
"""Instances of one transaction: their headers are read before it, so that it takes milliseconds."""

_ADDED = (
    select(dicom_instances.c.sha256)
    .where(dicom_instances.c.caller == holdings.c.caller, dicom_instances.c.sha256 == holdings.c.sha256)
    .exists()
)
"""The holding has a row."""
Missing = tuple[str, float, HeldInstance]
"""The caller, the time of the holding, and the instance."""


def begin(store: Store) -> threading.Thread:
    """Fill the tables in a thread of this process, or in that of another on this machine."""
    thread = threading.Thread(target=_fill_alone, args=(store,), name="dicomweb-fill", daemon=True)
    thread.start()
    return thread


def _fill_alone(store: Store) -> None:
    with suppress(BlockingIOError, GatewayError):
        descriptor = open_regular(store.folder / "fill.lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if count := fill(store):
                logger.info("the tables of DICOMweb were filled with %d instances that were stored before", count)
        finally:
            os.close(descriptor)


def empty(store: Store) -> None:
    """Empty the tables: for a server without DICOMweb, and not for each program that opens the store."""
    with store.index.writing() as connection:
        query_rows.clear(connection)


def fill(store: Store) -> int:
    """Add every held instance that the tables lack, and return how many; a file that cannot be read is left out."""
    count = 0
    for some in _missing(store):
        read = [(one, row) for one in some if (row := _described(store, one[2])) is not None]
        with store.index.writing() as connection:
            for (caller, held_at, _), described in read:
                still = holdings.c.caller == caller, holdings.c.sha256 == described.sha256, ~_ADDED
                if connection.execute(select(holdings.c.sha256).where(*still)).first():
                    query_rows.add(connection, caller, [described], held_at)
        count += len(read)
    return count


def _missing(store: Store) -> Iterator[list[Missing]]:
    """Holdings without a row, some at a time, in the order of caller and digest."""
    columns = [instances.c[name] for name in HeldInstance.__slots__]
    query = (
        select(holdings.c.caller, holdings.c.held_at, *columns)
        .join(instances, instances.c.sha256 == holdings.c.sha256)
        .where(~_ADDED)
        .order_by(holdings.c.caller, holdings.c.sha256)
        .limit(AT_ONCE)
    )
    caller, sha256 = holdings.c.caller, holdings.c.sha256
    behind: ColumnElement[bool] = true()
    while True:
        with store.index.reading() as connection:
            rows = [tuple(row) for row in connection.execute(query.where(behind))]
        if not rows:
            return
        some = [(row[0], row[1], HeldInstance(*row[2:])) for row in rows]
        yield some
        last = some[-1]
        behind = or_(caller > last[0], and_(caller == last[0], sha256 > last[2].sha256))


def _described(store: Store, instance: HeldInstance) -> query_rows.Described | None:
    try:
        with store.blobs["instances"].open(instance.location, instance.sha256, instance.size) as file:
            attributes = AttributeReader().read(file)
    except (GatewayError, Spoiled):  # what reads it next sets it aside
        return None
    uids = instance.sop_instance_uid, instance.series_instance_uid, instance.study_instance_uid
    return query_rows.Described(instance.sha256, *uids, attributes)
