"""Files of sessions in the store: uploaded, listed and opened. A path is a name in a table, and nothing else."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from sqlalchemy import func, insert, select

from gateway.dicom.reading.identity import identify
from gateway.endpoints.backendai.compute_sessions import ComputeSession
from gateway.errors import ComputeSessionNotFound, GatewayError, LimitExceeded, SessionFileNotFound
from gateway.studies import session_rows
from gateway.studies.blobs import Incoming, Spoiled
from gateway.studies.store import Store
from gateway.studies.tables import session_files

SPOILED = "A stored file of this session has changed on the disk; upload it again."


@dataclass(frozen=True)
class SessionFile:
    """A file of a session; ``study`` is "" for one that is not DICOM, ``stored_at`` seconds since 1970."""

    path: str
    location: str
    sha256: str
    size: int
    stored_at: float
    study: str


class Upload:
    """The files of one request while they are received. Use as a context manager: what was not kept is gone."""

    def __init__(self, store: Store) -> None:
        self._store, self._stack = store, ExitStack()
        self.files: list[tuple[str, Incoming, str]] = []
        """Path, bytes and Study Instance UID of each, in order."""
        self._path = ""

    def begin(self, path: str) -> None:
        """The next file begins. Raises StorageFull."""
        self._path, self._incoming = path, self._stack.enter_context(self._store.incoming())

    def write(self, data: bytes | memoryview) -> None:
        """More of the current file. Raises StorageFull."""
        self._incoming.write(data)

    def end(self) -> None:
        """The current file is complete."""
        with self._incoming.reader() as file:
            try:
                study = identify(file).study_instance_uid
            except GatewayError:  # a contour, a table, or a header that the model will refuse
                study = ""
        self.files.append((self._path, self._incoming, study))

    def __enter__(self) -> "Upload":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class SessionFiles:
    """The files of the sessions of one store."""

    def __init__(self, store: Store) -> None:
        self._store, self._blobs = store, store.blobs["sessions"]

    def keep(self, session: ComputeSession, upload: Upload) -> None:
        """Store an upload, all at once; a file of a path that exists is replaced.

        Raises StorageFull, LimitExceeded (``max_parts``), ComputeSessionNotFound, Unavailable.
        """
        last = {path: (incoming, study) for path, incoming, study in upload.files}
        places = {path: self._blobs.settle(incoming, secrets.token_hex(32)) for path, (incoming, _) in last.items()}
        placed = set[str]()
        try:
            self._place(session, last, places, placed)
        except BaseException:
            placed.clear()  # the transaction is undone
            raise
        finally:
            for path, location in places.items():
                if path not in placed:
                    self._blobs.abandon(location)

    def _place(
        self,
        session: ComputeSession,
        last: dict[str, tuple[Incoming, str]],
        places: dict[str, str],
        placed: set[str],
    ) -> None:
        now, most = self._store.clock(), self._store.settings.max_parts
        size = sum(incoming.size for incoming, _ in last.values())
        mine = session_files.c.session == session.id
        with self._store.index.writing() as connection:
            session_rows.touch(connection, session.id, now)  # before there is room made: it is used last
            if session_rows.found(connection, session.caller, session.id) is None:
                raise ComputeSessionNotFound("The session was destroyed meanwhile.")
            session_rows.remove_paths(connection, self._blobs, session.id, list(last))
            stored = connection.execute(select(func.count()).select_from(session_files).where(mine)).scalar_one()
            if stored + len(last) > most:
                raise LimitExceeded("max_parts", most, "files", what="The session")
            self._store.retention.make_room(connection, session.caller, size, lambda: [session.id])
            for path, (incoming, study) in last.items():
                self._blobs.place(incoming, places[path])
                placed.add(path)
                row: dict[str, Any] = {"session": session.id, "path": path, "location": places[path]}
                row |= {"sha256": incoming.sha256, "size": incoming.size, "stored_at": now}
                connection.execute(insert(session_files).values(row | {"study_instance_uid": study}))

    def all(self, session: ComputeSession) -> list[SessionFile]:
        """Return the files of a session, by path."""
        names = ("path", "location", "sha256", "size", "stored_at", "study_instance_uid")
        query = select(*(session_files.c[name] for name in names)).where(session_files.c.session == session.id)
        with self._store.index.reading() as connection:
            return [SessionFile(*row) for row in connection.execute(query.order_by(session_files.c.path))]

    def open(self, file: SessionFile) -> BinaryIO:
        """Return a file at its start, in use until it is closed. Raises SessionFileNotFound for one that has gone."""
        try:
            return self._blobs.open(file.location, file.sha256, file.size)
        except Spoiled:
            raise SessionFileNotFound(SPOILED) from None

    @contextmanager
    def opened(self, files: Sequence[SessionFile]) -> Iterator[list[BinaryIO]]:
        """Open files together, and close them behind the block. Raises SessionFileNotFound."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.open(file)) for file in files]
