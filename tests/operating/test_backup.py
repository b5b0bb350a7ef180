"""The commands of docs/backup.md copy a serving gateway, and its copy gives the same answers byte for byte."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import ROLES, Caller, roles
from gateway.access.callers_file import CallerEntry, change
from tests.conftest import Serve
from tests.operating.page_commands import run, section
from tests.require import require
from tests.studies import databases
from tests.studies.asking import Asking, entry
from tests.studies.files import File, files
from tests.studies.recalling import Models
from tests.waiting import eventually

pytestmark = pytest.mark.slow

LOAD = 3
"""Studies that are stored while the backup runs, at least."""
WEIGHTS = b"\x00weights\xff" * 1000


@dataclass(frozen=True)
class Machine:
    """The folders of one gateway, and its database."""

    folder: Path
    database_url: str

    @property
    def folders(self) -> dict[str, Path]:
        return {"/var/lib/gateway": self.folder / "lib", "/etc/gateway": self.folder / "etc"}

    @property
    def environment(self) -> dict[str, str]:
        data, configuration = self.folders.values()
        return {
            "GATEWAY_STORE_FOLDER": str(data / "store"),
            "GATEWAY_DATABASE_URL": self.database_url,
            "GATEWAY_AUDIT_FILE": str(data / "audit" / "audit.jsonl"),
            "GATEWAY_AUDIT_KEY_FILE": str(configuration / "audit.key"),
            "GATEWAY_API_KEYS_FILE": str(configuration / "callers.json"),
            "TEST_CALLS": str(self.folder / "calls"),
        }

    def commands(self, heading: str) -> list[str]:
        """The commands for this machine's kind of database alone."""
        other = "sqlite3" if self.database_url else "GATEWAY_DATABASE_URL"
        return [line for block in section("backup.md", heading) if other not in "".join(block) for line in block]

    def run(self, heading: str, backup: Path) -> str:
        folders = {**self.folders, "/srv/backup/gateway": backup}
        return run(self.commands(heading), folders, GATEWAY_DATABASE_URL=self.database_url)

    def serve(self, serve: Serve, key: str) -> Models:
        server = serve("tests.apps.recalled:app", **self.environment)
        models = Models(server.url, self.folder / "calls", key)
        eventually(lambda: Asking(server.url).ask("GET", "/readyz").status_code == 200)
        return models


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def databases_of_two(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The settings of two machines: "" twice, or two databases of one PostgreSQL."""
    if request.param == "sqlite":
        require(shutil.which("sqlite3"), "the commands of the page need Debian's package sqlite3")
        return "", ""
    cluster: databases.Cluster = request.getfixturevalue("cluster")
    return cluster.database(), cluster.database()


@pytest.fixture(scope="module")
def machines(databases_of_two: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[Machine]:
    made = [Machine(tmp_path_factory.mktemp("machine"), url) for url in databases_of_two]
    for machine in made:
        (machine.folder / "lib").mkdir()
    return made


def add_caller(machine: Machine) -> str:
    """A caller with every role; its key."""
    key, path = new_key(), Path(machine.environment["GATEWAY_API_KEYS_FILE"])
    path.parent.mkdir()
    (machine.folder / "lib" / "audit").mkdir()
    change(path, lambda entries: [*entries, CallerEntry(Caller("clinic", roles(ROLES), ("*",)), fingerprint(key))])
    return key


def store(models: Models, study: str) -> list[File]:
    made = files(3, study=study)
    Asking(models.url, models.key).send_missing(made)
    return made


def reference(made: list[File]) -> dict[str, Any]:
    return {"study": made[0].entry.study_instance_uid, "threshold": 120}


@contextmanager
def load(models: Models) -> Iterator[threading.Semaphore]:
    """Store and infer in the background; the semaphore counts the studies that are done."""
    over, done = threading.Event(), threading.Semaphore(0)

    def work() -> None:
        for number in count():
            if over.is_set():
                return
            models.named("/same", {"study": store(models, f"load {number}")[0].entry.study_instance_uid})
            done.release()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()


def push_bundle(models: Models) -> str:
    manifest = entry("net/model.bin", WEIGHTS)
    asked = Asking(models.url, models.key).parts("/bundles/lungs/files", {"files": [manifest], "remove": []}, [WEIGHTS])
    assert asked.status_code == 200, asked.text
    return f"/bundles/lungs/files/{manifest['sha256']}"


def test_a_restored_gateway_gives_the_same_answers_byte_for_byte(
    machines: list[Machine], serve: Serve, tmp_path: Path
) -> None:
    lost, spare = machines
    key = add_caller(lost)
    models = lost.serve(serve, key)
    made = store(models, "stored")
    answer, bundle = models.named("/same", reference(made)), push_bundle(models)
    asked = ("/studies/" + made[0].entry.study_instance_uid, f"/results?study={made[0].entry.study_instance_uid}")
    listed = [Asking(models.url, key).ask("GET", path).content for path in asked]

    with load(models) as done:
        for _ in range(LOAD):
            assert done.acquire(timeout=120)
        lost.run("Back up", tmp_path / "backup")
        assert done.acquire(timeout=120)

    assert "verdict whole" in spare.run("Restore", tmp_path / "backup")
    restored = spare.serve(serve, key)
    assert [Asking(restored.url, key).ask("GET", path).content for path in asked] == listed
    restored.named("/same", reference(made) | {"threshold": 130})  # a worker looks for results once its model is set up
    again = restored.named("/same", reference(made))
    assert (again.parts, again.kept, restored.runs) == (answer.parts, True, 1)
    assert Asking(restored.url, key).ask("GET", bundle).content == WEIGHTS
    assert restored.named("/free", reference(made)).parts == models.named("/free", reference(made)).parts
