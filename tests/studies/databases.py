"""PostgreSQL for the tests: a cluster of its own, run by a user of its own, reached by a socket of its own.

The tables of an index are made once, and copied: a test that makes them itself spends most of its time on that.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from gateway.studies.index import Index
from tests.waiting import PATIENCE, eventually

FOLDERS = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
USERS = ("postgres", "nobody")
MISSING = "the tests of a store on PostgreSQL need the Debian package postgresql"


def program(name: str) -> str | None:
    """The path of a program of PostgreSQL; Debian does not put them on PATH."""
    return next((str(folder / name) for folder in FOLDERS if (folder / name).exists()), shutil.which(name))


@cache
def sqlite() -> bytes:
    """The file of an index in SQLite that has its tables."""
    with tempfile.TemporaryDirectory() as folder:
        Index(Path(folder)).close()
        return Path(folder, "index.sqlite").read_bytes()


class Cluster:
    """A running PostgreSQL that listens on no port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._user = _unprivileged()
        self._numbers = count()
        self._template = ""
        if self._user:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        data = folder / "data"
        self._run(
            *("initdb", "-D", str(data), "-U", "store", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8"),
            "--wal-segsize=1",
        )
        self._log = (folder / "log").open("wb")
        self.start()

    def start(self) -> None:
        """Start it; the first time, and after ``halt``."""
        folder, data = self.folder, self.folder / "data"
        options = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200", "-k", str(folder)]
        command = [str(program("postgres")), "-D", str(data), *options]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, cwd=folder, **self._as_user())
        self._wait()

    def halt(self) -> None:
        """Cut its connections and stop it, until ``start``."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(PATIENCE)

    def database(self) -> str:
        """The URL of a fresh database, which is empty."""
        return self._database("template1")

    def index(self) -> str:
        """The URL of a fresh database that has the tables of an index."""
        if not self._template:
            url = self.database()
            with tempfile.TemporaryDirectory() as folder:
                Index(Path(folder), url).close()
            self._template = url.partition("@/")[2].partition("?")[0]
            eventually(self._is_left)
        return self._database(self._template)

    def _database(self, template: str) -> str:
        name = f"store_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return f"postgresql://store@/{name}?host={quote(str(self.folder))}"

    def _is_left(self) -> bool:
        """Whether nobody is connected to the template, which can be copied then."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        return self._execute(query, self._template) == [(0,)]

    def _execute(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        server = {"host": str(self.folder), "user": "store", "dbname": "postgres"}
        with psycopg.connect(**server, autocommit=True) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def stop(self) -> None:
        """End it at once, without waiting for those who are connected: nothing of it is read again."""
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _wait(self) -> None:
        eventually(lambda: self._accepts() or self._process.poll() is not None)
        assert self._process.poll() is None, (self.folder / "log").read_text()

    def _accepts(self) -> bool:
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("pg_isready", "-h", str(self.folder))
            return True
        return False

    def _run(self, name: str, *arguments: str) -> None:
        command = [str(program(name)), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, **self._as_user())

    def _as_user(self) -> dict[str, Any]:
        """It refuses to be root."""
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}


def _unprivileged() -> pwd.struct_passwd | None:
    if os.getuid():
        return None
    for name in USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError(f"none of the users {USERS} exists")


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster in a folder that its user can reach, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # short, since a socket's path has 107 bytes at most
    try:
        running = Cluster(folder)
        try:
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
