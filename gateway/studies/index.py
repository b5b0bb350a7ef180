"""The index of the store: SQLite in its folder, or PostgreSQL; one writer at a time, any number of readers.

A file is named, replaced or removed only inside a writing transaction, and writers wait for each other: SQLite by
``BEGIN IMMEDIATE``, PostgreSQL by an advisory lock. So no two processes can disagree about a file.
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from gateway.errors import StorageFull, Unavailable
from gateway.extras import hint
from gateway.spool.disk import RETRY_SECONDS, make_private_file, on_disk, open_regular

try:
    from sqlalchemy import Connection, Engine, create_engine, event, exc, make_url
    from sqlalchemy.engine import URL

    from gateway.studies.index_clock import IndexClock
    from gateway.studies.migrating import upgrade
except ImportError as error:
    raise ImportError(f"A study store needs SQLAlchemy and alembic; {hint('store')}") from error

WAIT_SECONDS = 30
"""How long a writer waits for the others; each holds the lock for milliseconds."""
WRITER = 0x6761746577617901
"""The key of PostgreSQL's advisory lock: "gateway" in ASCII, then 1."""
LOST = {"connect_timeout": "10", "tcp_user_timeout": "10000", "keepalives_idle": "10", "keepalives_interval": "5"}
"""What the URL of a PostgreSQL has besides, unless it says otherwise (libpq 32.1.2): a network that drops packets is
noticed after ten seconds, and not after the quarter of an hour, or the two hours, of the kernel."""
CONNECTIONS = 16
"""Open at once in one process, as many as gunicorn's threads here."""
LOG_PAGES = 8192
"""Pages of 4 KiB in SQLite's write-ahead log before they are moved to the database: that waits for the disk and keeps
writers out, and 1,000 instances that come at once write 7,000 pages."""


class Index:
    """A database with the tables of the store. ``reading`` and ``writing`` are its transactions, ``now`` its clock."""

    def __init__(self, folder: Path, url: str = "", *, durable: bool = False) -> None:
        """``url`` as SQLAlchemy writes it, "" for SQLite in ``folder``; ``durable`` waits for the disk at each commit.

        The tables are made or brought up to date. Raises ValueError for a URL of another kind of database, Unavailable.
        """
        location = _url(folder, url)
        self._engine = _engine(location, durable)
        self._closed = False
        event.listen(self._engine, "checkin", self._returned)
        self._sqlite = self._engine.dialect.name == "sqlite"
        self._writer = threading.Lock()
        self._files = _IndexFiles(_path(location) if self._sqlite else None)
        with _alone(folder / "migrate.lock"):
            self._files.make()
            self._migrate()
            self._files.remember()
        self.now = IndexClock(self.reading, shared=not self._sqlite)
        self.now()  # measured before threads ask: those that ask meanwhile get what is known

    def close(self) -> None:
        """Close its connections; those in use once they are free."""
        self._closed = True
        self._engine.dispose()

    def _returned(self, _connection: Any, record: Any) -> None:
        """A connection is free: a pool that was disposed of would keep it open."""
        if self._closed:
            record.invalidate()

    @property
    def is_sqlite(self) -> bool:
        """Return True for SQLite, False for PostgreSQL."""
        return self._sqlite

    def driver_connection(self) -> Any:
        """Open a connection of the driver itself, outside of the pool and in autocommit, for LISTEN."""
        arguments, options = self._engine.dialect.create_connect_args(self._engine.url)
        connection = self._engine.dialect.connect(*arguments, **options)
        connection.autocommit = True
        return connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the index. Raises Unavailable."""
        self._files.check()
        with _answering(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction of the only writer; undone when the block raises. Raises StorageFull, Unavailable."""
        self._files.check()
        with self._turn(), _answering(), self._connect_to_write() as connection, connection.begin():
            if not self._sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER})")
            yield connection

    @contextmanager
    def statements(self) -> Iterator[Connection]:
        """A connection on which each statement is a transaction, beside the writer's. Raises StorageFull, Unavailable.

        Nothing that names a file is changed by it.
        """
        self._files.check()
        with _answering(), self._engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

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
        if self._sqlite:
            with closing(self._engine.raw_connection()) as connection:  # in no transaction
                connection.cursor().execute("PRAGMA journal_mode = WAL").close()  # stays with the file
        with self.writing() as connection:
            upgrade(connection)


def _url(folder: Path, text: str) -> URL:
    if not text:
        return URL.create("sqlite", database=str(folder / "index.sqlite"))
    try:
        url = make_url(text)
    except exc.ArgumentError:
        raise ValueError("database_url (GATEWAY_DATABASE_URL) is no URL of a database.") from None
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise ValueError("database_url (GATEWAY_DATABASE_URL) should be of PostgreSQL or SQLite.")
    if url.get_backend_name() == "sqlite":
        return url
    return url.set(drivername="postgresql+psycopg", query={**LOST, **url.query})


def _path(url: URL) -> Path | None:
    """Return the file of an index in SQLite; None for one in memory or by a URI."""
    text = url.database or ":memory:"
    return None if text.startswith((":memory:", "file:")) else Path(text)


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
    with on_disk("index"):
        descriptor = open_regular(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class _IndexFiles:
    """The file of an index in SQLite, with its log and the memory that its connections share.

    SQLite goes on with files that were removed or replaced: what it writes there is lost, and each process may see
    another index. Its three files stay the same while a connection is open, and are this user's alone: SQLite gives the
    other two the mode of the first.
    """

    def __init__(self, path: Path | None) -> None:
        """``path`` of the index; None for another database than SQLite."""
        self._paths = [path, *(path.with_name(f"{path.name}-{kind}") for kind in ("wal", "shm"))] if path else []
        self._expected: list[tuple[int, int]] = []

    def make(self) -> None:
        """Make the index where it is missing, and take the rights of others from its files. Raises Unavailable."""
        with on_disk("index"):
            for path in self._paths:
                if path is self._paths[0] or path.exists():
                    make_private_file(path)

    def remember(self) -> None:
        """Remember which files are open now."""
        self._expected = self._found()

    def check(self) -> None:
        """Raise Unavailable where one of the files was removed or replaced."""
        if self._expected and self._found() != self._expected:
            detail = "The index of the study store was moved or replaced; put it back, or restart the gateway."
            raise Unavailable(detail, retry_after=RETRY_SECONDS, private="index: moved or replaced")

    def _found(self) -> list[tuple[int, int]]:
        identities = []
        for path in self._paths:
            with suppress(OSError):
                status = path.stat()
                identities.append((status.st_dev, status.st_ino))
        return identities


@contextmanager
def _answering() -> Iterator[None]:
    """Raise errors of the database as errors of the gateway."""
    try:
        yield
    except (exc.IntegrityError, exc.ProgrammingError):  # the code is wrong, not the database
        raise
    except (exc.DBAPIError, exc.TimeoutError) as error:
        cause = getattr(error, "orig", error)
        private = f"index: {type(cause).__name__}"
        if _is_full(cause):
            raise StorageFull("The gateway has no room for this; try again later.", private=private) from error
        raise Unavailable("The study store does not answer; try again.", retry_after=5, private=private) from error


def _is_full(error: Any) -> bool:
    """SQLITE_FULL, or PostgreSQL's disk_full."""
    code = getattr(error, "sqlite_errorcode", None)
    return code == sqlite3.SQLITE_FULL or getattr(error, "sqlstate", None) == "53100"
