"""A copy of each record in a table of an SQL database. SQLAlchemy is known only here."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.observe.audit.chain import Sealed
from gateway.spool.disk import make_private_file

if TYPE_CHECKING:
    from sqlalchemy import Engine, Table

TABLE = "gateway_audit"


class SQLCopies:
    """Inserts each record into the table ``gateway_audit``, which it makes where there is none.

    ``url`` is SQLAlchemy's, such as ``sqlite:////var/lib/audit.db`` or ``postgresql+psycopg://host/base``. ``line`` is
    the record as it stands in the file; the other columns are for looking it up. A record that is there already stays
    as it is. Raises ImportError without SQLAlchemy, the extra ``sql``.
    """

    name = "sql"

    def __init__(self, url: str) -> None:
        self._url = url

    @cached_property
    def _engine(self) -> "Engine":
        from sqlalchemy import create_engine, make_url

        url = make_url(self._url)
        if url.get_backend_name() == "sqlite" and url.database and not url.database.startswith((":memory:", "file:")):
            with suppress(OSError):  # SQLite reports it in its own words
                make_private_file(Path(url.database))
        engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
        self._table.create(engine, checkfirst=True)
        return engine

    @cached_property
    def _table(self) -> "Table":
        from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, Text

        columns: list[Column[Any]] = [
            Column("chain", String(16), primary_key=True),
            Column("seq", BigInteger, primary_key=True),
            *(Column(name, String(64)) for name in ("digest", "time", "request", "input", "output")),
            *(Column(name, Text) for name in ("caller", "route", "model", "line")),
            Column("status", Integer),
        ]
        return Table(TABLE, MetaData(), *columns)

    def write(self, records: Sequence[Sealed]) -> None:
        """Insert the records, all or none; raises what SQLAlchemy raises."""
        from sqlalchemy import insert, select

        column = self._table.c
        with self._engine.begin() as connection:
            for chain, group in groupby(records, key=lambda record: record.head.chain):
                rows = {record.head.seq: _row(record) for record in group}
                stored = select(column.seq).where(column.chain == chain, column.seq.in_(rows))
                present = set(connection.execute(stored).scalars())
                if new := [row for seq, row in rows.items() if seq not in present]:
                    connection.execute(insert(self._table), new)

    def close(self) -> None:
        """Close the connections."""
        if "_engine" in vars(self):
            self._engine.dispose()


def _row(sealed: Sealed) -> dict[str, Any]:
    record, head = sealed.record, sealed.head
    # an event that is of no inference has but a time and a caller
    own = {name: record.get(name) for name in ("time", "request", "input", "output", "caller", "route", "status")}
    place = {"chain": head.chain, "seq": head.seq, "digest": head.digest}
    return own | place | {"model": record.get("model", {}).get("name"), "line": sealed.line.decode()}
