"""Leases of rows with ``id``, ``due_at`` and ``holder``: one that is due belongs to one process for a while."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, func, select, update


@dataclass(frozen=True, eq=False)
class RowLeases:
    """The leases of a table; ``live`` is the condition of rows that have a next moment."""

    table: Table
    live: ColumnElement[bool]

    def next_due(self, connection: Connection) -> float | None:
        """Return when a row should be looked at next, in seconds since 1970; None where none is live."""
        moment: float | None = connection.execute(select(func.min(self.table.c.due_at)).where(self.live)).scalar_one()
        return moment

    def claim(self, connection: Connection, holder: str, now: float, lease: float) -> Row[Any] | None:
        """Take the row that is due longest, for ``lease`` seconds; return it as it was, None where none is due."""
        columns = self.table.c
        query = select(self.table).where(self.live, columns.due_at <= now).order_by(columns.due_at).limit(1)
        row = connection.execute(query).one_or_none()
        if row is not None:
            taken = update(self.table).where(columns.id == row.id)
            connection.execute(taken.values(holder=holder, due_at=now + lease))
        return row

    def mine(self, id: str, holder: str) -> ColumnElement[bool]:
        """Return the condition of a claimed row, which no longer holds once another process has it."""
        return (self.table.c.id == id) & (self.table.c.holder == holder) & self.live

    def renew(self, connection: Connection, id: str, holder: str, until: float) -> None:
        """Prolong the lease of a claimed row, unless another process has it by now."""
        connection.execute(update(self.table).where(self.mine(id, holder)).values(due_at=until))
