"""Fixtures of all tests: a real server on a free port, and the marks of the tiers."""

import contextlib
import gc
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis
import pytest

from gateway.access import listeners
from tests.commands import ROOT, Command
from tests.examples import FAST, PROFILE
from tests.file_by_file import FileByFile
from tests.ray_packages import installed
from tests.waiting import PATIENCE, eventually

# a busy machine makes an example slow, and no example is wrong for that
hypothesis.settings.register_profile(
    "patient", deadline=None, max_examples=60, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("fast", hypothesis.settings.get_profile("patient"), max_examples=FAST)
hypothesis.settings.load_profile(PROFILE)
LISTENING = re.compile(r"Listening at: (https?)://(?:127\.0\.0\.1|0\.0\.0\.0):(\d+)")


SERVE = "serve"
STARTS = {SERVE, "start", "bucket", "cluster", "s3"}
"""Fixtures that start a process, or a server of S3 in this one."""
STARTERS = {"subprocess", "command", "FORKING"}
"""Names in a module that starts processes."""
ROOMS = {"server", "doctor", "compat"}
"""Folders of tests that look at processes and machines."""

# A shell's background job ignores Ctrl-C, and so would the commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Have a process of xdist collect its files as it runs them, unless single tests are named."""
    if hasattr(config, "workerinput") and not any("::" in word for word in config.args):
        config.pluginmanager.register(FileByFile())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not read the folders of ROOMS in the fast tier, which would leave out each of their tests."""
    return True if "not server" in config.option.markexpr and collection_path.name in ROOMS else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that starts a process ``server``: by its folder, its fixtures, or the programs of its module."""
    for item in items:
        module = vars(getattr(item, "module", None) or pytest)
        starts = not STARTS.isdisjoint(getattr(item, "fixturenames", ())) or "postgresql" in item.nodeid
        if starts or not STARTERS.isdisjoint(module) or item.path.parent.name in ROOMS:
            item.add_marker("server")


def pytest_collection_finish() -> None:
    """Leave what was collected out of collections of garbage, each of which would look through it again."""
    gc.collect()
    gc.freeze()


class Server:
    """A gunicorn that runs in a process group of its own, its output in a file."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.log_file = folder / "server.log"
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self.process = self._forked(command, environment) if command[0] == SERVE else self._new(command, environment)
        self.url = self._wait()

    def _forked(self, command: list[str], environment: dict[str, str]) -> Command:
        return Command(command, ROOT, environment, [self.log_file])

    def _new(self, command: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        with self.log_file.open("wb") as output:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """All it has printed so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def port(self) -> int:
        """The free port it took."""
        return int(self.url.rsplit(":", 1)[1])

    def _wait(self) -> str:
        with contextlib.suppress(AssertionError):
            eventually(lambda: self._listens() or self.process.poll() is not None)
        match = LISTENING.search(self.log)
        if match and self._listens():
            return f"{match[1]}://127.0.0.1:{match[2]}"
        self.stop()
        raise AssertionError(f"the server did not start:\n{self.log}")

    def _listens(self) -> bool:
        return bool(LISTENING.search(self.log)) and "Booting worker" in self.log

    def stop(self) -> None:
        """End it, by force if need be; nothing of it is left."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(autouse=True)
def announced() -> Iterator[None]:
    """Restore the announced addresses after a test."""
    before = listeners.addresses()
    yield
    listeners.announce(before)


Serve = Callable[..., Server]


@pytest.fixture
def dropped_sockets() -> Iterator[None]:
    """Collect what a test has dropped while its filter of warnings still stands, and not within another test."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def ray_packages() -> Iterator[str]:
    """The folder that Ray is imported from; "" where it is installed here."""
    with installed() as folder:
        yield folder


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Start real gunicorn through ``python -m gateway serve APP``; all are stopped with the module, at once.

    Its process has the libraries already, unless it is started ``cold``, in a new interpreter.
    """
    servers: list[Server] = []

    def start(app: str, *options: str, pythonpath: Path = ROOT, cold: bool = False, **environment: str) -> Server:
        interpreter = [sys.executable, "-m", "gateway"] if cold else []
        command = [*interpreter, SERVE, app, "--port", "0", *options]
        folder = tmp_path_factory.mktemp("server")
        servers.append(Server(command, folder, {"PYTHONPATH": f"{pythonpath}{os.pathsep}{ROOT}", **environment}))
        return servers[-1]

    yield start
    with ThreadPoolExecutor() as threads:
        list(threads.map(Server.stop, servers))
