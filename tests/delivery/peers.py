"""Deliveries to peers of a test: a store, a file of peers, and archives that answer as the test says."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway import Settings
from gateway.delivery.deliveries import Deliveries
from gateway.peers.peer_directory import PeerDirectory
from gateway.studies import delivery_rows
from gateway.studies.delivery_rows import Delivery, DeliveryInstance
from gateway.studies.store import Store
from tests.peers.scripted import Asked, response, scripted
from tests.studies.conftest import Clock
from tests.studies.files import File, upload

Answer = Callable[[Asked], Iterable[bytes]]


@dataclass
class Archive:
    """A peer over DICOMweb that knows the files of a test.

    ``reasons`` are the next failure reasons of instances, ``statuses`` the next statuses of whole requests; ``stored``
    are the UIDs that it stored, in their order, and ``asked`` all requests.
    """

    files: list[File]
    reasons: dict[str, deque[int]] = field(default_factory=dict)
    statuses: deque[int] = field(default_factory=deque)
    stored: list[str] = field(default_factory=list)
    sent: list[list[str]] = field(default_factory=list)
    has: set[str] = field(default_factory=set)
    port: int = 0
    largest: int = 1_000_000
    before: Callable[[], None] = lambda: None
    headers: list[dict[str, str]] = field(default_factory=list)

    def answer(self, asked: Asked) -> Iterable[bytes]:
        if asked.method == "GET":
            found = [uid for uid in self.has if uid in asked.target]
            return response(200, json.dumps([{"00080018": {"vr": "UI", "Value": [uid]}} for uid in found]).encode())
        uids = [one.entry.sop_instance_uid for one in self.files if one.data in asked.body]
        self.sent.append(uids)
        self.headers.append(asked.headers)
        self.before()
        if self.statuses:
            return response(self.statuses.popleft())
        if len(asked.body) > self.largest:
            return response(413)
        failed = {uid: self.reasons[uid].popleft() for uid in uids if self.reasons.get(uid)}
        self.stored += [uid for uid in uids if uid not in failed]
        return response(*_stowed(uids, failed))

    @property
    def entry(self) -> str:
        return f'dicomweb = "http://127.0.0.1:{self.port}"'


def _stowed(uids: list[str], failed: dict[str, int]) -> tuple[int, bytes]:
    """Status and body of a response to a store (PS3.18 10.5.3)."""
    items = {
        "00081199": [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in uids if uid not in failed],
        "00081198": [
            {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
            for uid, reason in failed.items()
        ],
    }
    body = {tag: {"vr": "SQ", "Value": values} for tag, values in items.items() if values}
    status = 200 if not failed else 409 if len(failed) == len(uids) else 202
    return status, json.dumps(body).encode()


@contextmanager
def archive(files: list[File]) -> Iterator[Archive]:
    """Run an archive on a free port of 127.0.0.1."""
    made = Archive(files)
    with scripted(made.answer) as running:
        made.port = running.port
        yield made


@dataclass
class Outbox:
    """Deliveries of one store, what was counted, and what was opened."""

    store: Store
    clock: Clock
    folder: Path
    counted: list[tuple[str, str]] = field(default_factory=list)
    opened: list[tuple[Deliveries, PeerDirectory]] = field(default_factory=list)

    def open(self, peers: dict[str, str], **settings: Any) -> Deliveries:
        """Deliveries to these peers, entries of a file by their names, which begin at once."""
        file = self.folder / f"peers-{len(self.opened)}.toml"
        file.write_text("".join(f"[peers.{name}]\n{entry}\n" for name, entry in peers.items()))
        directory = PeerDirectory.open(file, lambda *_: None)
        made = Deliveries(Settings(**settings), self.store, directory, self._report)
        self.opened.append((made, directory))
        made.start()
        return made

    def _report(self, delivery: Delivery, word: str, outcome: str, instances: int) -> None:
        self.counted.append((delivery.destination, word))

    def queue(self, sent: list[File], destination: str = "pacs", *, stored: bool = True, run_key: str = "") -> str:
        """Store files of one study for the caller "ct", and queue them."""
        if stored:
            upload(self.store, "ct", sent)
        pairs = [(one.entry.sop_instance_uid, one.entry.sha256) for one in sent]
        study = sent[0].entry.study_instance_uid
        values = {"caller": "ct", "destination": destination, "study": study, "run_key": run_key}
        with self.store.index.writing() as connection:
            id = delivery_rows.queue(connection, instances=pairs, now=self.clock(), **values)
        self.wake()
        return id

    def wake(self) -> None:
        for deliveries, _ in self.opened:
            deliveries.wake()

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.wake()

    def get(self, id: str) -> Delivery:
        with self.store.index.reading() as connection:
            found = delivery_rows.get(connection, id)
        assert found is not None
        return found

    def brief(self, id: str) -> tuple[str, int, str]:
        found = self.get(id)
        return found.state.value, found.tries, found.outcome

    def instances(self, id: str) -> list[DeliveryInstance]:
        with self.store.index.reading() as connection:
            return delivery_rows.instances_of(connection, id)

    def outcomes(self, id: str, sent: list[File]) -> list[tuple[str, str]]:
        """State and outcome of each instance, in the order of the files."""
        found = {each.sop_instance_uid: (each.state.value, each.outcome) for each in self.instances(id)}
        return [found[one.entry.sop_instance_uid] for one in sent]

    def close(self) -> None:
        for deliveries, directory in self.opened:
            deliveries.close()
            directory.close()
