"""A store on each database, runs in its index, and webhooks that go to receivers of the test."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from gateway import Settings
from gateway.delivery.signatures import new_secret
from gateway.delivery.webhooks import Webhooks
from gateway.studies.store import Store
from gateway.studies.tables import runs, webhooks
from tests.delivery.peers import Outbox
from tests.delivery.receivers import Receiver, receiving
from tests.studies.conftest import Clock, clock, cluster, database_url, open_store, store

__all__ = ["clock", "cluster", "database_url", "open_store", "store"]

NUMBERS = count()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def outbox(store: Store, clock: Clock, tmp_path: Path) -> Iterator[Outbox]:
    made = Outbox(store, clock, tmp_path)
    yield made
    made.close()


@dataclass
class Desk:
    """Webhooks of one store, and their numbers."""

    store: Store
    clock: Clock
    folder: Path
    counted: list[str] = field(default_factory=list)
    opened: list[Webhooks] = field(default_factory=list)

    def open(self, *origins: str, **settings: Any) -> Webhooks:
        """Webhooks to these origins, which begin to deliver."""
        path = self.folder / f"secrets-{next(NUMBERS)}"
        path.write_text("".join(f"{origin} {new_secret()}\n" for origin in origins))
        path.chmod(0o600)
        values: dict[str, Any] = {"webhook_origins": " ".join(origins), "webhook_secrets_file": path} | settings
        self.opened.append(Webhooks(Settings(**values), self.store.index, self.counted.append, self.clock))
        self.opened[-1].start()
        return self.opened[-1]

    def run(self, id: str = "", *, ended: bool = True) -> str:
        """A run in the index; returns its key."""
        key = f"{next(NUMBERS):064x}"
        values: dict[str, Any] = dict.fromkeys(("sequence", "attempts", "lease_until", "available_at", "status"), 0)
        values |= dict.fromkeys(("holder", "reason"), "") | dict.fromkeys(("cancelling", "expired"), False)
        values |= {"key": key, "id": id or key[-8:], "caller": "c", "route": "/lungs", "body_digest": "b" * 64}
        state = {"state": "finished" if ended else "running", "ended_at": self.clock() if ended else None}
        with self.store.index.writing() as connection:
            connection.execute(insert(runs).values(values | state | {"created_at": self.clock()}))
        return key

    def end(self, key: str) -> None:
        with self.store.index.writing() as connection:
            ended = {"state": "failed", "ended_at": self.clock()}
            connection.execute(update(runs).where(runs.c.key == key).values(ended))

    def rows(self) -> list[Any]:
        with self.store.index.reading() as connection:
            return list(connection.execute(select(webhooks).order_by(webhooks.c.run_key)).all())

    def states(self) -> list[tuple[str, int, str]]:
        return [(row.state, row.tries, row.outcome) for row in self.rows()]


MakeDesk = Callable[[Store], Desk]


@pytest.fixture
def desk(store: Store, clock: Clock, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(store, clock, tmp_path)
    yield made
    for each in made.opened:
        each.close()
