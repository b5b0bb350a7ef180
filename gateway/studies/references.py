"""A request that names what was sent before: ``study``, ``series`` or ``instances`` -> open files, in order."""

import hashlib
from collections.abc import Callable, Sequence, Sized
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from types import TracebackType
from typing import Any, BinaryIO, Self

from sqlalchemy import Connection, insert, select

from gateway.dicom.reading.instances import read_instance, spatial_order
from gateway.errors import GatewayError, LimitExceeded, ParameterRefused, StudyNotFound
from gateway.protocol.digests import Hash, hash_function
from gateway.studies import instance_rows
from gateway.studies.instance_rows import HeldInstance
from gateway.studies.manifests import is_digest, is_uid
from gateway.studies.store import Store
from gateway.studies.tables import input_digests
from gateway.studies.tables import instances as table

MEMBERS = ("study", "series", "instances")
"""The words of a reference; one of them is in the JSON."""
FROM = "from"
"""Beside ``study``, the peer to fetch it from; ``series`` then chooses among its series."""
ORDERS = 256
"""Spatial orders that a process remembers: reading the headers of a study takes a tenth of a second."""
PIECE = 1 << 20
NOT_HELD = "No such study, series or instances are stored for this caller; send them first."


@dataclass(frozen=True)
class StudyReference:
    """A reference of a request: to a study, to several series, or to instances by digest; one of the three."""

    study: str = ""
    series: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()


@dataclass(frozen=True)
class FetchOrder:
    """What a request wants fetched: a study of a peer, or these series of it."""

    peer: str
    study: str
    series: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resolved:
    """The files of a reference, open for reading and in use until they are closed, and their digests in order."""

    files: list[BinaryIO]
    held: tuple[HeldInstance, ...]

    @property
    def digests(self) -> tuple[str, ...]:
        """The sha256 of each file, in order."""
        return tuple(instance.sha256 for instance in self.held)

    def close(self) -> None:
        """Close the files: they may be evicted again."""
        for file in self.files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def is_reference(json: dict[str, Any]) -> bool:
    """Return True if a request's JSON names stored instances instead of sending them."""
    return any(name in json for name in MEMBERS)


def read_order(json: dict[str, Any]) -> FetchOrder | None:
    """Return what a request's JSON wants fetched; None where it names no peer. Raises ParameterRefused."""
    if FROM not in json:
        return None
    if "study" not in json or not isinstance(json[FROM], str):
        raise ParameterRefused([(f"/{FROM}", "from should be the name of a peer, beside the UID of a study.")])
    reference = read_reference(json)
    study = read_reference({"study": json["study"]}).study
    return FetchOrder(json[FROM], study, reference.series)


def read_reference(json: dict[str, Any]) -> StudyReference:
    """Read the reference of a request's JSON. Raises ParameterRefused with a pointer to an invalid member."""
    named = [name for name in MEMBERS if name in json]
    if FROM in json and named == ["study", "series"]:
        named = ["series"]
    if len(named) != 1:
        raise ParameterRefused([(f"/{(named or MEMBERS)[-1]}", "Name one of study, series and instances.")])
    name = named[0]
    values = json[name] if isinstance(json[name], list) and name != "study" else [json[name]]
    fits = is_digest if name == "instances" else is_uid
    if not values or not all(map(fits, values)) or (name == "instances" and not isinstance(json[name], list)):
        kinds = {"study": "a UID", "series": "a UID or a list of UIDs", "instances": "a list of sha256 digests"}
        raise ParameterRefused([(f"/{name}", f"{name} should be {kinds[name]}.")])
    if len(set(values)) < len(values):
        raise ParameterRefused([(f"/{name}", "Name each of them once.")])
    if name == "study":
        return StudyReference(study=values[0])
    return StudyReference(series=tuple(values)) if name == "series" else StudyReference(instances=tuple(values))


class References:
    """Resolves references against one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._orders: dict[tuple[str, ...], tuple[HeldInstance, ...]] = {}
        self._lock = Lock()

    def resolve(self, json: dict[str, Any], caller: str) -> Resolved:
        """The files that a request's JSON names, each read once and compared with its digest.

        Raises ParameterRefused, StudyNotFound for what this caller does not hold, LimitExceeded (``max_study_files``,
        ``max_body_bytes``), StudyRefused for a header that cannot be read, Unavailable.
        """
        reference, settings = read_reference(json), self._store.settings
        self._limit_count(reference.series or reference.instances)  # each has a file: no need to look for them
        instances = self._find(reference, caller)
        self._limit_count(instances)
        if sum(instance.size for instance in instances) > settings.max_body_bytes:
            raise LimitExceeded("max_body_bytes", settings.max_body_bytes, what="The study")
        resolved = Resolved(self._store.open_instances(instances), tuple(instances))
        try:
            self._touch(resolved.digests)
            return resolved if reference.instances else self._in_order(resolved)
        except BaseException:
            resolved.close()
            raise

    def held(self, json: dict[str, Any], caller: str) -> list[HeldInstance]:
        """Return what a request's JSON names, without its files.

        Raises ParameterRefused, StudyNotFound, Unavailable.
        """
        return self._find(read_reference(json), caller)

    def of(self, caller: str) -> "Resolver":
        """Return what resolves the studies of one caller."""
        return Resolver(self, caller, self._store.settings.digest)

    def _limit_count(self, files: Sized) -> None:
        if len(files) > (limit := self._store.settings.max_study_files):
            raise LimitExceeded("max_study_files", limit, "files", what="The study")

    def _find(self, reference: StudyReference, caller: str) -> list[HeldInstance]:
        since = self._store.retention.since
        with self._store.index.reading() as connection:
            if reference.study:
                instances = instance_rows.held(connection, caller, since, table.c.study_instance_uid == reference.study)
            elif reference.series:
                instances = _named(connection, caller, since, "series_instance_uid", reference.series)
            else:
                instances = _named(connection, caller, since, "sha256", reference.instances)
        if not instances:
            raise StudyNotFound(NOT_HELD)
        return instances

    def _in_order(self, resolved: Resolved) -> Resolved:
        """Each series in spatial order; the series stay where they are."""
        files = dict(zip(resolved.held, resolved.files, strict=True))
        ordered = self._orders.get(resolved.digests)
        if ordered is None:
            places = {id(file): instance for instance, file in files.items()}
            ordered = tuple(
                places[id(instance.source)] for instance in spatial_order(map(read_instance, resolved.files))
            )
            with self._lock:
                if len(self._orders) >= ORDERS:
                    self._orders.pop(next(iter(self._orders)))
                self._orders[resolved.digests] = ordered
        return Resolved([files[instance] for instance in ordered], ordered)

    def _touch(self, digests: Sequence[str]) -> None:
        now = self._store.clock()
        with self._store.index.reading() as connection:
            stale = instance_rows.stale(connection, digests, now)
        if stale:
            with suppress(GatewayError), self._store.index.writing() as connection:  # a note, not worth a refusal
                instance_rows.touch(connection, digests, now)

    def input_digest(self, json_bytes: bytes, resolved: Resolved, algorithm: str, new: Callable[[], Hash]) -> str:
        """The digest over the JSON as it was sent, then the files in order: as of the same request with parts.

        ``new`` makes a hash of the ``algorithm``. Computed once for each request. The files are left at their start.
        """
        texts = [algorithm, hashlib.sha256(json_bytes).hexdigest(), *resolved.digests]
        key = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        with self._store.index.reading() as connection:
            query = select(input_digests.c.digest).where(input_digests.c.id == key)
            known: str | None = connection.execute(query).scalar_one_or_none()
        if known is None:
            known = _digest(json_bytes, resolved.files, new())
            self._remember(key, known)
        return known

    def _remember(self, key: str, digest: str) -> None:
        with suppress(GatewayError), self._store.index.writing() as connection:  # it can be computed again
            if connection.execute(select(input_digests.c.id).where(input_digests.c.id == key)).first() is None:
                row = {"id": key, "digest": digest, "used_at": self._store.clock()}
                connection.execute(insert(input_digests).values(row))


@dataclass(frozen=True)
class Resolver:
    """The studies that one caller may name instead of sending them; ``algorithm`` is that of input digests."""

    references: References
    caller: str
    algorithm: str

    def names(self, json: dict[str, Any]) -> bool:
        """Return True where a request's JSON names something."""
        return is_reference(json)

    def order(self, json: dict[str, Any]) -> FetchOrder | None:
        """See ``read_order``."""
        return read_order(json)

    def without(self, json: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON as of the same request with parts, which is what a model is given."""
        return {name: value for name, value in json.items() if name not in (*MEMBERS, FROM)}

    def resolve(self, json: dict[str, Any]) -> Resolved:
        """See ``References.resolve``."""
        return self.references.resolve(json, self.caller)

    def held(self, json: dict[str, Any]) -> list[HeldInstance]:
        """See ``References.held``."""
        return self.references.held(json, self.caller)

    def input_digest(self, json_bytes: bytes, resolved: Resolved) -> str:
        """See ``References.input_digest``."""
        return self.references.input_digest(json_bytes, resolved, self.algorithm, hash_function(self.algorithm))


def _named(
    connection: Connection, caller: str, since: float, column: str, values: tuple[str, ...]
) -> list[HeldInstance]:
    """Return all rows with one of ``values``, in their order. Raises StudyNotFound where one of them matches none."""
    matches: dict[str, list[HeldInstance]] = {value: [] for value in values}
    for instance in instance_rows.held_in(connection, caller, since, table.c[column], values):
        matches[getattr(instance, column)].append(instance)
    if not all(matches.values()):
        raise StudyNotFound(NOT_HELD)
    return [instance for value in values for instance in matches[value]]


def _digest(json_bytes: bytes, files: Sequence[BinaryIO], digest: Hash) -> str:
    digest.update(json_bytes)
    for file in files:
        file.seek(0)
        while piece := file.read(PIECE):
            digest.update(piece)
        file.seek(0)
    return digest.hexdigest()
