"""Deliveries of one application: stored results taken to peers, and their numbers."""

from gateway.config import Settings
from gateway.delivery.delivery_errands import DeliveryErrands, TryReport
from gateway.observe.delivery_states import DestinationNumbers
from gateway.peers.peer_directory import PeerDirectory
from gateway.studies import delivery_rows
from gateway.studies.delivery_rows import Delivery
from gateway.studies.errands import ErrandRunner
from gateway.studies.store import Store


class Deliveries:
    """Takes to peers what ``delivery_rows.queue`` has queued. Any number of processes share the work."""

    def __init__(self, settings: Settings, store: Store, peers: PeerDirectory, report: TryReport) -> None:
        """``report`` receives what became of each try."""
        self._store, self._names = store, tuple(peers.entries)
        tries, longest_pause = settings.delivery_tries, settings.delivery_longest_pause
        errands = DeliveryErrands(store, peers.known, tries, longest_pause, report)
        self._runner: ErrandRunner[Delivery] = ErrandRunner(store.index, errands, store.clock, lease=settings.run_lease)

    def start(self) -> None:
        """Begin to deliver; once is enough."""
        self._runner.start()

    def wake(self) -> None:
        """Look for what was queued now, and begin where that has not been done; returns at once.

        Without it a process that delivers looks every five seconds.
        """
        self.start()
        self._runner.wake()

    def close(self) -> None:
        """Stop delivering; what is not delivered is delivered by another process, or after the next start."""
        self._runner.stop()

    def numbers(self) -> dict[str, DestinationNumbers]:
        """Return the numbers of each peer, and of each other destination that something waits for or is dead."""
        now = self._store.clock()
        with self._store.index.reading() as connection:
            found = delivery_rows.backlogs(connection)
        numbers = dict.fromkeys(self._names, DestinationNumbers(0, 0.0, 0))
        for name, backlog in found.items():
            age = 0.0 if backlog.queued_at is None else max(0.0, now - backlog.queued_at)
            numbers[name] = DestinationNumbers(backlog.pending, age, backlog.dead)
        return numbers
