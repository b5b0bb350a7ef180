"""The webhooks of runs in the index: registered with a run, due at its end, leased to one process for each try."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from gateway.studies.delivery_rows import DeliveryState
from gateway.studies.tables import runs, webhooks


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A webhook, and the run whose end it reports. ``outcome`` is that of the last try, "" before it.

    ``next_at`` and ``ended_at`` are seconds since 1970.
    """

    key: str
    id: str
    origin: str
    url: str
    state: DeliveryState
    tries: int
    next_at: float
    outcome: str
    run: str
    route: str
    run_state: str
    ended_at: float | None


_COLUMNS = (
    webhooks.c.run_key.label("key"),
    *(webhooks.c[name] for name in ("id", "origin", "url", "state", "tries", "next_at", "outcome")),
    runs.c.id.label("run"),
    runs.c.route,
    runs.c.state.label("run_state"),
    runs.c.ended_at,
)
_ALL = select(*_COLUMNS).join(runs, runs.c.key == webhooks.c.run_key)
_PENDING = webhooks.c.state == DeliveryState.PENDING.value
_DUE = (_PENDING, runs.c.ended_at.is_not(None))


def register(connection: Connection, run_key: str, origin: str, url: str, now: float) -> None:
    """Give a run its webhook, unless it has one."""
    if connection.execute(select(webhooks.c.id).where(webhooks.c.run_key == run_key)).first():
        return
    new = {"run_key": run_key, "id": f"msg_{secrets.token_hex(16)}", "origin": origin, "url": url}
    connection.execute(insert(webhooks), new | {"state": "pending", "tries": 0, "next_at": now, "outcome": ""})


def claim(connection: Connection, now: float, lease: float, busy: Collection[str]) -> Webhook | None:
    """Take the webhook that is due longest, for ``lease`` seconds; None where there is none but of ``busy`` origins.

    The try counts from here: one that ends the process must not be repeated for ever.
    """
    free = webhooks.c.origin.not_in(busy)
    query = _ALL.where(*_DUE, free, webhooks.c.next_at <= now).order_by(webhooks.c.next_at).limit(1)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    webhook = _webhook(row)
    taken = {"tries": webhook.tries + 1, "next_at": now + lease}
    connection.execute(update(webhooks).where(webhooks.c.run_key == webhook.key).values(taken))
    return _webhook(row, **taken)


def renew(connection: Connection, webhook: Webhook, ends: float, until: float) -> None:
    """Prolong the lease that ends at ``ends``, unless its try has an outcome by now or another was begun."""
    mine = (webhooks.c.run_key == webhook.key) & (webhooks.c.tries == webhook.tries) & _PENDING
    mine &= webhooks.c.next_at == ends
    connection.execute(update(webhooks).where(mine).values(next_at=until))


def settle(connection: Connection, webhook: Webhook, state: DeliveryState, outcome: str, next_at: float) -> None:
    """Record the outcome of a try, unless its lease ended and another process has begun one since."""
    mine = (webhooks.c.run_key == webhook.key) & (webhooks.c.tries == webhook.tries) & _PENDING
    values = {"state": state.value, "outcome": outcome, "next_at": next_at}
    connection.execute(update(webhooks).where(mine).values(values))


def of_run(connection: Connection, run_key: str) -> Webhook | None:
    """Return the webhook of a run."""
    row = connection.execute(_ALL.where(webhooks.c.run_key == run_key)).one_or_none()
    return None if row is None else _webhook(row)


def listed(connection: Connection, state: DeliveryState | None, limit: int) -> Sequence[Webhook]:
    """Return webhooks of all callers, in one state or in any, those that ended last first."""
    query = _ALL if state is None else _ALL.where(webhooks.c.state == state.value)
    ordered = query.order_by(runs.c.ended_at.desc().nulls_last(), webhooks.c.id).limit(limit)
    return [_webhook(row) for row in connection.execute(ordered)]


def revive(connection: Connection, ids: Collection[str] | None, now: float) -> int:
    """Make dead webhooks due again, with all their tries: those with these ids, or all (None). Return how many."""
    dead = webhooks.c.state == DeliveryState.DEAD.value
    chosen = dead if ids is None else dead & webhooks.c.id.in_(ids)
    values = {"state": DeliveryState.PENDING.value, "tries": 0, "next_at": now}
    return connection.execute(update(webhooks).where(chosen).values(values)).rowcount


@dataclass(frozen=True)
class Backlog:
    """When the next webhook is due, and when the run ended whose webhook waits longest; None where none waits."""

    next_at: float | None
    ended_at: float | None


def backlog(connection: Connection) -> Backlog:
    """Return what waits."""
    query = select(func.min(webhooks.c.next_at), func.min(runs.c.ended_at))
    return Backlog(*connection.execute(query.join(runs, runs.c.key == webhooks.c.run_key).where(*_DUE)).one())


def _webhook(row: Any, **changed: Any) -> Webhook:
    values = dict(row._mapping) | {"state": DeliveryState(row.state)}
    return Webhook(**values | changed)
