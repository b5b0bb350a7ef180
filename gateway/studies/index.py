"""The index of the store: SQLite in its folder, or PostgreSQL; one writer at a time, any number of readers.

A file is named, replaced or removed only inside a writing transaction, and writers wait for each other: SQLite by
``BEGIN IMMEDIATE``, PostgreSQL by an advisory lock. So no two processes can disagree about a file.
"""

import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from gateway.errors import StorageFull, Unavailable

try:
    from sqlalchemy import Connection, Engine, create_engine, event, exc, make_url
    from sqlalchemy.engine import URL
except ImportError as error:
    raise ImportError("A study store needs SQLAlchemy and alembic: install inference-gateway[store].") from error

WAIT_SECONDS = 30
"""How long a writer waits for the others; each holds the lock for milliseconds."""
WRITER = 0x6761746577617901
"""The key of PostgreSQL's advisory lock: "gateway" in ASCII, then 1."""
CONNECTIONS = 16
"""Open at once in one process, as many as gunicorn's threads here."""
LOG_PAGES = 8192
"""Pages of 4 KiB in SQLite's write-ahead log before they are moved to the database: that waits for the disk and keeps
writers out, and 1,000 instances that come at once write 7,000 pages."""


class Index:
    """A database with the tables of the store. ``reading`` and ``writing`` are its transactions."""

    def __init__(self, folder: Path, url: str = "", *, durable: bool = False) -> None:
        """``url`` as SQLAlchemy writes it, "" for SQLite in ``folder``; ``durable`` waits for the disk at each commit.

        The tables are made or brought up to date. Raises ValueError for a URL of another kind of database, Unavailable.
        """
        self._engine = _engine(_url(folder, url), durable)
        self._sqlite = self._engine.dialect.name == "sqlite"
        self._writer = threading.Lock()
        with _alone(folder / "migrate.lock"):
            self._migrate()

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the index. Raises Unavailable."""
        with _told(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction in which nobody else writes; undone when the block raises. Raises StorageFull, Unavailable."""
        with self._turn(), _told(), self._connect_to_write() as connection, connection.begin():
            if not self._sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER})")
            yield connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Threads take turns here: SQLite itself would have them look again after pauses of up to 100 ms."""
        if not self._writer.acquire(timeout=WAIT_SECONDS):
            raise Unavailable("The study store is busy; try again.", retry_after=5, private="index: no turn to write")
        try:
            yield
        finally:
            self._writer.release()

    def _connect_to_write(self) -> Connection:
        return self._engine.connect().execution_options(writing=True)

    def _migrate(self) -> None:
        from alembic import command
        from alembic.config import Config

        if self._sqlite:
            with closing(self._engine.raw_connection()) as connection:  # in no transaction
                connection.cursor().execute("PRAGMA journal_mode = WAL").close()  # stays with the file
        plugins = logging.getLogger("alembic")
        if plugins.level == logging.NOTSET:  # it names each of its own at each start
            plugins.setLevel(logging.WARNING)
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
        with self.writing() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _url(folder: Path, text: str) -> URL:
    if not text:
        return URL.create("sqlite", database=str(folder / "index.sqlite"))
    try:
        url = make_url(text)
    except exc.ArgumentError:
        raise ValueError("database_url (GATEWAY_DATABASE_URL) is no URL of a database.") from None
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise ValueError("database_url (GATEWAY_DATABASE_URL) should be of PostgreSQL or SQLite.")
    return url if url.get_backend_name() == "sqlite" else url.set(drivername="postgresql+psycopg")


def _engine(url: URL, durable: bool) -> Engine:
    # parameters hold UIDs and callers' names, which no error may quote; the connection that was used last knows most
    engine = create_engine(
        url, hide_parameters=True, pool_size=CONNECTIONS, max_overflow=CONNECTIONS, pool_use_lifo=True
    )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _connected_durably if durable else _connected)
        event.listen(engine, "begin", _begin)
    return engine


def _connected(connection: Any, _record: Any, synchronous: str = "NORMAL") -> None:
    connection.isolation_level = None  # transactions are begun by ``_begin``, not by sqlite3
    wait, log = f"busy_timeout = {WAIT_SECONDS * 1000}", f"wal_autocheckpoint = {LOG_PAGES}"
    for pragma in (wait, log, "foreign_keys = ON", f"synchronous = {synchronous}"):
        connection.execute(f"PRAGMA {pragma}")


def _connected_durably(connection: Any, record: Any) -> None:
    _connected(connection, record, "FULL")


def _begin(connection: Connection) -> None:
    # a transaction that reads first and writes later cannot wait for its turn; one that writes takes it at once
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writing") else "BEGIN")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While one process is here, the others on this machine wait."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _told() -> Iterator[None]:
    """Raise errors of the database as errors of the gateway."""
    try:
        yield
    except exc.DBAPIError as error:
        private = f"index: {type(error.orig).__name__}"
        if _is_full(error.orig):
            raise StorageFull("The gateway has no room to keep this; try again later.", private=private) from error
        if isinstance(error, exc.OperationalError):
            raise Unavailable("The study store does not answer; try again.", retry_after=5, private=private) from error
        raise


def _is_full(error: Any) -> bool:
    """SQLITE_FULL, or PostgreSQL's disk_full."""
    code = getattr(error, "sqlite_errorcode", None)
    return code == sqlite3.SQLITE_FULL or getattr(error, "sqlstate", None) == "53100"
