"""What looks after errands in the index: its leases begin when they are written."""

import threading
from collections.abc import Callable, Collection
from pathlib import Path

from sqlalchemy import Connection

from gateway.studies.errands import ErrandRunner
from gateway.studies.index import Index
from tests.waiting import PATIENCE


class OneErrand:
    """One that is always due, and is never had."""

    name = "one"

    def __init__(self) -> None:
        self.looked, self.asked = threading.Event(), threading.Event()
        self.claimed_at = 0.0

    def due_at(self, connection: Connection) -> float | None:
        """Return when it is due."""
        self.looked.set()
        return 0.0

    def claim(self, connection: Connection, now: float, lease: float, busy: Collection[str]) -> str | None:
        """Note when it is wanted."""
        self.claimed_at = now
        self.asked.set()
        return None

    def renew(self, connection: Connection, item: str, ends: float, until: float) -> None:
        """Never called."""

    def receiver(self, item: str) -> str:
        """Never called."""
        return item

    def attempt(self, item: str, stopped: Callable[[], bool]) -> None:
        """Never called."""


def test_a_lease_begins_when_its_turn_to_write_has_come(tmp_path: Path) -> None:
    index, errands, clock = Index(tmp_path), OneErrand(), [1.0]
    runner = ErrandRunner(index, errands, lambda: clock[0], lease=30.0)
    with index.writing():
        runner.start()
        assert errands.looked.wait(PATIENCE)
        clock[0] = 26.0
    assert errands.asked.wait(PATIENCE)
    runner.stop()
    index.close()
    assert errands.claimed_at == 26.0
