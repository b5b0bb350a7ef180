"""Bundles: files of a model by name and key, such as weights. Data only: nothing here imports or unpickles them."""

from collections.abc import Callable, Iterable, Sequence, Sized
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Annotated, Any, BinaryIO

from pydantic import FailFast, Field, TypeAdapter
from sqlalchemy import Connection, delete, func, insert, select

from gateway.config import Settings
from gateway.errors import BrokenJSON, BundleNotFound, KeyRefused, LimitExceeded
from gateway.studies import instance_rows
from gateway.studies.blobs import Spoiled
from gateway.studies.bundle_keys import check_bundle, check_key, folded
from gateway.studies.file_batch import FileBatch
from gateway.studies.manifests import Sha256, Size, read
from gateway.studies.store import Store
from gateway.studies.tables import bundles


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A file of a bundle. ``mtime`` is its time of modification, in seconds since 1970."""

    key: str
    sha256: Sha256
    size: Size
    mtime: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Push:
    """The files that follow in the same body, and the keys that go."""

    files: Annotated[list[BundleFile], FailFast()]
    remove: Annotated[list[str], Field(default_factory=list), FailFast()]


@dataclass(frozen=True, slots=True)
class Difference:
    """The files that the gateway lacks, that both have, and that the gateway alone has."""

    missing: list[str]
    same: list[str]
    extra: list[BundleFile]


_LIST = TypeAdapter(Annotated[list[BundleFile], FailFast()])
_PUSH = TypeAdapter(Push)


def read_files(data: bytes, settings: Settings) -> list[BundleFile]:
    """A client's list of a bundle's files. Raises BrokenJSON, KeyRefused, LimitExceeded (``max_bundle_...``)."""
    return _checked(read(_LIST, data), settings)


def read_push(data: bytes, settings: Settings) -> Push:
    """Read the files that a chunk adds and removes. Raises as ``read_files``."""
    push = read(_PUSH, data)
    _checked(push.files, settings)
    _limit_count(push.remove, settings)
    for key in push.remove:
        check_key(key)
    if not {file.key for file in push.files}.isdisjoint(push.remove):
        raise BrokenJSON("The JSON sends a key and removes it.")
    return push


def _checked(files: list[BundleFile], settings: Settings) -> list[BundleFile]:
    _limit_count(files, settings)
    if sum(file.size for file in files) > settings.max_bundle_bytes:
        raise LimitExceeded("max_bundle_bytes", settings.max_bundle_bytes, what="The bundle")
    for file in files:
        check_key(file.key)
    _refuse_twins(file.key for file in files)
    return files


def _limit_count(files: Sized, settings: Settings) -> None:
    if len(files) > settings.max_bundle_files:
        raise LimitExceeded("max_bundle_files", settings.max_bundle_files, "files", what="The bundle")


def _refuse_twins(keys: Iterable[str]) -> None:
    """Keys that differ in case alone, and a key that is a folder of another."""
    named = sorted(folded(key) for key in keys)
    folders = {name[:at] for name in named for at, letter in enumerate(name) if letter == "/"}
    if len(set(named)) < len(named) or not folders.isdisjoint(named):
        raise KeyRefused("Two keys of a bundle are one file, or a file and its folder, on some systems.")


class Bundles:
    """The bundles of one store, for callers who may administer it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def names(self) -> list[dict[str, Any]]:
        """Each bundle's name, files and bytes."""
        query = select(bundles.c.name, func.count(), func.sum(bundles.c.size)).group_by(bundles.c.name)
        with self._store.index.reading() as connection:
            rows = connection.execute(query.order_by(bundles.c.name)).all()
        return [{"name": name, "files": count, "bytes": int(size)} for name, count, size in rows]

    def files(self, name: str) -> list[BundleFile]:
        """The files of a bundle by key. Raises KeyRefused, BundleNotFound."""
        with self._store.index.reading() as connection:
            files = _files(connection, check_bundle(name))
        if not files:
            raise BundleNotFound("There is no bundle of this name.")
        return files

    def difference(self, name: str, theirs: Sequence[BundleFile]) -> Difference:
        """Compare a client's list with the stored bundle; ``mtime`` is ignored. Raises KeyRefused."""
        with self._store.index.reading() as connection:
            files = _files(connection, check_bundle(name))
        stored = {file.key: file.sha256 for file in files}
        same = [file.key for file in theirs if stored.get(file.key) == file.sha256]
        missing = [file.key for file in theirs if stored.get(file.key) != file.sha256]
        listed = {file.key for file in theirs}
        return Difference(missing, same, [file for file in files if file.key not in listed])

    def open(self, name: str, sha256: str) -> tuple[BinaryIO, int]:
        """A file of a bundle by its digest, checked, and its bytes. Raises KeyRefused, BundleNotFound."""
        query = select(bundles.c.location, bundles.c.size)
        query = query.where(bundles.c.name == check_bundle(name), bundles.c.sha256 == sha256).limit(1)
        with self._store.index.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is not None:
            with suppress(Spoiled):
                return self._store.blobs["bundles"].open(row.location, sha256, row.size), row.size
            with self._store.index.writing() as connection:
                connection.execute(delete(bundles).where(bundles.c.sha256 == sha256))
                self._collect(connection, [(sha256, row.location)])
        raise BundleNotFound("There is no such file in this bundle, or it has changed and was removed; push it again.")

    def remove(self, name: str) -> tuple[int, int]:
        """Remove a bundle: its files and bytes. Raises KeyRefused, BundleNotFound."""
        files = self.files(name)
        with self._store.index.writing() as connection:
            self.take_out(connection, name, [file.key for file in files])
        return len(files), sum(file.size for file in files)

    def put_in(
        self, connection: Connection, name: str, files: Sequence[BundleFile], place: Callable[[str], str]
    ) -> None:
        """Add files, each instead of what its key meant before; ``place`` puts bytes that are not here yet.

        Raises KeyRefused, LimitExceeded for what the bundle would become, StorageFull.
        """
        self.take_out(connection, name, [file.key for file in files])
        _checked([*_files(connection, name), *files], self._store.settings)
        for file in files:
            location = self._location(connection, file.sha256) or place(file.sha256)
            row = asdict(file) | {"name": name, "folded": folded(file.key), "location": location}
            connection.execute(insert(bundles).values(row))

    def take_out(self, connection: Connection, name: str, keys: Sequence[str]) -> int:
        """Remove keys of a bundle, and the bytes that no key is left for; how many keys there were."""
        removed = 0
        for some in instance_rows.pieces(keys):
            mine = bundles.c.name == name, bundles.c.key.in_(some)
            rows = connection.execute(select(bundles.c.sha256, bundles.c.location).where(*mine)).all()
            connection.execute(delete(bundles).where(*mine))
            self._collect(connection, [(sha256, location) for sha256, location in rows])
            removed += len(rows)
        return removed

    def _location(self, connection: Connection, sha256: str) -> str | None:
        """Return the location of the bytes of a digest, in any bundle."""
        query = select(bundles.c.location).where(bundles.c.sha256 == sha256).limit(1)
        return connection.execute(query).scalar_one_or_none()

    def _collect(self, connection: Connection, gone: Sequence[tuple[str, str]]) -> None:
        for sha256, location in dict(gone).items():
            if self._location(connection, sha256) is None:
                self._store.blobs["bundles"].remove(location, used_too=True)


def _files(connection: Connection, name: str) -> list[BundleFile]:
    columns = bundles.c.key, bundles.c.sha256, bundles.c.size, bundles.c.mtime
    query = select(*columns).where(bundles.c.name == name).order_by(bundles.c.key)
    return [BundleFile(*row) for row in connection.execute(query)]


class BundleUpload(FileBatch):
    """The files of one chunk of a bundle."""

    def __init__(self, store: Store, name: str, push: Push) -> None:
        """Raises KeyRefused for the name."""
        super().__init__(store, "bundles", push.files)
        self.push, self._name = push, check_bundle(name)

    def keep(self) -> int:
        """Keep the chunk, and remove what goes: how many keys went. Raises as ``Bundles.put_in``; BrokenJSON."""
        self.settle()
        stored = Bundles(self._store)
        with self._store.index.writing() as connection:
            removed = stored.take_out(connection, self._name, self.push.remove)
            stored.put_in(connection, self._name, self.push.files, self.place)
            with self.lasting():
                pass
        return removed
