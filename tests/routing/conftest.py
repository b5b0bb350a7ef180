"""A gateway with a store and rules in this process, whose clock only the test moves, and which routes step by step."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydicom import dcmread

from gateway import BoundingBox, Gateway, Requires, SecondaryCapture, Settings, Study, Volume
from gateway.routing.routing_engine import RoutingEngine, Step, open_engine
from gateway.runs.runs import Runs
from gateway.studies import delivery_rows, round_rows
from gateway.studies.arrival_rows import Sender, http_sender
from gateway.studies.arriving import Arriving
from gateway.studies.delivery_rows import Delivery
from gateway.studies.round_rows import Round
from gateway.studies.routing_rows import Routing, RoutingState
from gateway.studies.store import Store
from gateway.studies.store_context import StoreContext
from gateway.studies.uploads import InstanceUpload
from tests.dicom.studies import uid
from tests.studies.conftest import Clock, cluster, database_url
from tests.studies.files import File
from tests.waiting import eventually

__all__ = ["cluster", "database_url"]

ON_POSTGRESQL = ("its_results_are_queued", "dead_process_has_begun")
"""Words of the tests that ``make test`` repeats on PostgreSQL; the others are repeated by the slow tests."""
OWNER = "ct1"
RULES = """
[rules.lungs]
titles = ["CT1", "CT2"]
callers = ["web"]
match = {Modality = "CT"}
model = "/lungs"
destinations = ["pacs"]
quiet_seconds = 10
ceiling_seconds = 100
retries = 1
retry_seconds = 30
"""
PEERS = """
[peers.pacs]
dicomweb = "http://127.0.0.1:{port}/dicom-web"
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave most of the repetitions on PostgreSQL to the slow tests."""
    for item in items:
        repeated = item.path.parent == Path(__file__).parent and "[postgresql" in item.nodeid
        if repeated and not any(word in item.name for word in ON_POSTGRESQL):
            item.add_marker("slow")


class RoutingBench:
    """One process of a gateway that routes studies; ``calls`` are the numbers of slices that its models were given."""

    def __init__(self, folder: Path, database_url: str, clock: Clock, rules: str, calls: list[int], port: int) -> None:
        self.clock, self.calls, self.faults = clock, calls, 0
        for name, text in (("rules.toml", rules), ("peers.toml", PEERS.format(port=port))):
            (folder / name).write_text(text, encoding="utf-8")
        (folder / "peers.toml").chmod(0o600)
        self.settings = Settings(
            store_folder=folder / "store",
            database_url=database_url,
            routing=folder / "rules.toml",
            peers=folder / "peers.toml",
        )
        app = self.app = Gateway(__name__, settings=self.settings)
        app.model("/lungs")(self.lungs)
        app.model("/thick")(thick)
        app.model("/echo")(echo)
        self.service = app.service
        self.service.store = StoreContext(Store.open(self.settings, clock=clock))
        self.store: Store = self.service.store.store
        self.service.open("", None)
        for model in self.service.to_set_up():
            self.service.executors.inline.set_up(model, warm=False)
        self.runs = Runs(self.service, self.store)
        self.engine: RoutingEngine = open_engine(self.service, self.runs, lambda: None)
        self.arriving = Arriving(self.store)

    def lungs(self, ct: Volume) -> BoundingBox:
        """Return one box, unless it should fail."""
        self.calls.append(ct.array.shape[0])
        if self.faults:
            self.faults -= 1
            raise RuntimeError("the model has a fault")
        return BoundingBox("lung", (1, 1), (3, 3), slice=0, of=ct)

    def send(self, files: list[File], title: str = "CT1", association: str = "one", caller: str = OWNER) -> Sender:
        """Send files by an association that lasts, or over HTTP without a title."""
        sender = Sender(association, title, caller) if title else http_sender(caller)
        with InstanceUpload(self.store, caller, "fail", [file.entry for file in files], sender) as upload:
            for file in files:
                upload.begin()
                upload.write(file.data)
                upload.end()
            upload.keep()
        return sender

    def route(self) -> None:
        """Take the steps that are due, until none is due and no run is in work."""
        while self.turn() or self._waits():
            pass

    def turn(self) -> bool:
        """Take the next step that is due; False where none is."""
        step = self.claim()
        if step is not None:
            self.engine.errands.attempt(step, lambda: False)
        return step is not None

    def claim(self) -> Step | None:
        """Claim the next step that is due, as the engine does."""
        with self.store.index.writing() as connection:
            return self.engine.errands.claim(connection, self.store.clock(), self.settings.run_lease, [])

    def _waits(self) -> bool:
        """Wait for the run of a routing to end; True where there is one."""
        running = [one for one in self.routings() if one.state is RoutingState.RUNNING]
        for one in running:
            self.runs.wait(one.caller, one.run, 60.0)
            eventually(partial(self._moved, one.id))
        return bool(running)

    def _moved(self, id: str) -> bool:
        running = [one.id for one in self.routings() if one.state is RoutingState.RUNNING]
        return self.turn() or id not in running

    def rounds(self, study: object = "study") -> list[Round]:
        """The rounds of a study."""
        with self.store.index.reading() as connection:
            return round_rows.of_study(connection, uid("study", study))

    def routings(self, study: object = "study") -> list[Routing]:
        """The routings of a study."""
        return [routing for one in self.rounds(study) for routing in one.routings]

    def deliveries(self, study: object = "study") -> list[Delivery]:
        """What is queued of a study."""
        with self.store.index.reading() as connection:
            return list(delivery_rows.of_study(connection, None, uid("study", study)))

    def close(self) -> None:
        """Stop it as a server does."""
        self.engine.stop()
        self.runs.close()
        self.service.close()
        self.store.close()


def thick(ct: Annotated[Volume, Requires(min_slices=100)]) -> BoundingBox:
    """Refuse all but long series."""
    return BoundingBox("lung", (1, 1), (3, 3), slice=0, of=ct)


def echo(study: Study) -> SecondaryCapture:
    """Return an instance that it was given, as it is."""
    source: Any = study.series[0].instances[0].source
    source.seek(0)
    return SecondaryCapture(dcmread(source))


@pytest.fixture
def open_routing(tmp_path: Path, database_url: str) -> Iterator[Any]:
    """Open processes of one gateway: all share a store, a clock and the calls of their models."""
    opened: list[RoutingBench] = []
    clock, calls = Clock(), list[int]()

    def start(rules: str = RULES, port: int = 1) -> RoutingBench:
        opened.append(RoutingBench(tmp_path, database_url, clock, rules, calls, port))
        return opened[-1]

    yield start
    for bench in opened:
        bench.close()


@pytest.fixture
def routing(open_routing: Any) -> RoutingBench:
    made: RoutingBench = open_routing()
    return made
