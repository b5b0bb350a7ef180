"""Stored answers, found again by the request and the model that made them."""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from gateway.contract.requests import BinaryPart, Result
from gateway.errors import DigestMismatch, GatewayError, ResultNotFound
from gateway.protocol.digests import ALGORITHMS, hash_function
from gateway.studies.blobs import Incoming, Spoiled
from gateway.studies.instance_rows import TOUCH_SECONDS, HeldInstance
from gateway.studies.store import Store
from gateway.studies.tables import result_instances, results

logger = logging.getLogger("gateway")

JSON_TYPE = "application/json"


@dataclass(frozen=True, kw_only=True)
class ResultKey:
    """The identity of an answer. Digests are sha256 in hexadecimal, "" where there is none.

    ``model_digest`` is over the source, version, weights and config; ``parameters_digest`` over the parameters after
    their defaults were filled in; ``output`` says in which form the answer leaves (``json`` or ``dicom``).
    """

    instances: tuple[str, ...]
    model: str
    version: str
    model_digest: str
    weights_digest: str
    parameters_digest: str
    output: str = "json"

    def id(self, caller: str) -> str:
        """Return the name of this caller's result; another caller's has another name."""
        return hashlib.sha256(json.dumps([caller, *astuple(self)]).encode()).hexdigest()


@dataclass(frozen=True)
class StoredResult:
    """An answer as it was given; ``age`` in seconds (RFC 9111 5.1). ``algorithm`` made its digests.

    ``receipt`` is that of the answer of a run.
    """

    id: str
    result: Result
    output_digest: str
    age: int
    algorithm: str
    receipt: dict[str, Any] | None = None


class Results:
    """The results of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, key: ResultKey, caller: str, input_digest: str) -> StoredResult | None:
        """The answer that this caller got before; None where there is none, or it was to another input.

        One whose bytes do not have its output digest is removed, and None.
        """
        try:
            stored = self.get(key.id(caller), caller)
        except ResultNotFound:
            return None
        return stored if stored.result.input_digest == input_digest else None

    def get(self, id: str, caller: str) -> StoredResult:
        """A result of this caller's by its id. Raises ResultNotFound, Unavailable."""
        now = self._store.clock()
        with self._store.index.reading() as connection:
            query = select(results).where(results.c.id == id, *visible(caller, self._store.retention.since))
            row = connection.execute(query).one_or_none()
        if row is None:
            raise ResultNotFound("No such result is stored for this caller.")
        try:
            with self._store.blobs["results"].open(row.location, row.body_sha256, row.size) as file:
                body = memoryview(file.read())
            algorithm = self._algorithm(body, row.output_digest)
        except Spoiled:
            logger.warning("a stored result does not have its digest and was removed: %s", row.id)
            self._drop(row.id, row.location)
            raise ResultNotFound("The stored result has changed and was removed; send the request again.") from None
        self._touch(row, now)
        age = max(0, int(now - row.created_at))
        return StoredResult(row.id, _result(row, body), row.output_digest, age, algorithm)

    def _algorithm(self, body: memoryview, output_digest: str) -> str:
        """The name of the algorithm by which the bytes of an answer have its digest. Raises Spoiled for none."""
        now = self._store.settings.digest
        for algorithm in (now, *(ALGORITHMS.keys() - {now})):
            with suppress(ValueError):  # its package is not installed
                if _digest([body], algorithm) == output_digest:
                    return algorithm
        raise Spoiled

    def keep(
        self, key: ResultKey, caller: str, result: Result, output_digest: str, held: Sequence[HeldInstance]
    ) -> str:
        """Store an answer made from ``held``, instead of an older one of the same key; its id.

        Raises StorageFull, Unavailable, and DigestMismatch where its bytes do not have ``output_digest``; the answer
        itself is none the worse for the first two.
        """
        id, blobs = key.id(caller), self._store.blobs["results"]
        with self._store.incoming() as incoming:
            self._write(incoming, result, output_digest)
            location = blobs.settle(incoming, id)
            try:
                with self._store.index.writing() as connection:
                    spare = {instance.study_instance_uid for instance in held}
                    self._store.retention.make_room(connection, caller, incoming.size, lambda: spare)
                    self._replace(connection, id)
                    row = self._row(key, result, incoming)
                    ids = {"id": id, "caller": caller, "location": location, "output_digest": output_digest}
                    connection.execute(insert(results).values(row | ids))
                    rows = [_instance_row(id, position, instance) for position, instance in enumerate(held)]
                    if rows:
                        connection.execute(insert(result_instances), rows)
                    blobs.place(incoming, location)
            except BaseException:
                blobs.abandon(location)
                raise
        return id

    def _write(self, incoming: Incoming, result: Result, output_digest: str) -> None:
        pieces = [memoryview(result.json_bytes), *(part.data for part in result.parts)]
        for piece in pieces:
            incoming.write(piece)
        algorithm = self._store.settings.digest
        if (incoming.sha256 if algorithm == "sha256" else _digest(pieces, algorithm)) != output_digest:
            raise DigestMismatch("The bytes of this answer changed after they were hashed; it is not stored.")

    def _replace(self, connection: Connection, id: str) -> None:
        """An older answer of the same key goes."""
        query = select(results.c.location).where(results.c.id == id)
        if (location := connection.execute(query).scalar_one_or_none()) is not None:
            connection.execute(delete(results).where(results.c.id == id))
            self._store.blobs["results"].remove(location, used_too=True)

    def _row(self, key: ResultKey, result: Result, incoming: Incoming) -> dict[str, object]:
        now = self._store.clock()
        parts = [[JSON_TYPE, len(result.json_bytes)], *([part.media_type, part.data.nbytes] for part in result.parts)]
        names = ("model", "version", "model_digest", "weights_digest", "parameters_digest")
        return {name: getattr(key, name) for name in names} | {
            "input_digest": result.input_digest,
            "body_sha256": incoming.sha256,
            "parts": json.dumps(parts),
            "size": incoming.size,
            "seconds": result.seconds,
            "created_at": now,
            "used_at": now,
        }

    def delete(self, id: str, caller: str) -> None:
        """Remove a result of this caller's. Raises ResultNotFound."""
        with self._store.index.reading() as connection:
            query = select(results.c.location).where(results.c.id == id, *visible(caller, self._store.retention.since))
            location = connection.execute(query).scalar_one_or_none()
        if location is None:
            raise ResultNotFound("No such result is stored for this caller.")
        self._drop(id, location)

    def forget(self, connection: Connection, study: str, caller: str | None) -> int:
        """Remove the results of a study, a caller's or everybody's (None); how many there were."""
        of_study = select(result_instances.c.result_id).where(result_instances.c.study_instance_uid == study)
        mine = [] if caller is None else [results.c.caller == caller]
        query = select(results.c.id, results.c.location).where(results.c.id.in_(of_study), *mine)
        rows = connection.execute(query).all()
        for id, location in rows:
            self._store.blobs["results"].remove(location, used_too=True)
            connection.execute(delete(results).where(results.c.id == id))
        return len(rows)

    def _drop(self, id: str, location: str) -> None:
        with self._store.index.writing() as connection:
            gone = connection.execute(delete(results).where(results.c.id == id, results.c.location == location))
            if gone.rowcount:
                self._store.blobs["results"].remove(location, used_too=True)

    def _touch(self, row: Row[Any], now: float) -> None:
        if row.used_at < now - TOUCH_SECONDS:
            with suppress(GatewayError), self._store.index.writing() as connection:  # a note, not worth a refusal
                connection.execute(update(results).where(results.c.id == row.id).values(used_at=now))


def visible(caller: str, since: float) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions on the results that a caller may see: its own, stored since ``since``."""
    return results.c.caller == caller, results.c.created_at >= since


def _digest(pieces: Iterable[memoryview], algorithm: str) -> str:
    digest = hash_function(algorithm)()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _instance_row(id: str, position: int, instance: HeldInstance) -> dict[str, object]:
    return {
        "result_id": id,
        "position": position,
        "sha256": instance.sha256,
        "series_instance_uid": instance.series_instance_uid,
        "study_instance_uid": instance.study_instance_uid,
    }


def _result(row: Row[Any], body: memoryview) -> Result:
    parts, start = list[BinaryPart](), 0
    for media_type, size in json.loads(row.parts):
        parts.append(BinaryPart(media_type, body[start : start + size]))
        start += size
    return Result(bytes(parts[0].data), parts[1:], row.input_digest, row.seconds)
