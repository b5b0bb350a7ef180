"""Upload of a study: missing instances are sent once, and later requests refer to the stored study."""

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from gateway.client.errors import AnswerCorrupt, Conflict, ConflictingInstance, Refused, SourceUnreadable, one_line
from gateway.client.hashes import HashCache
from gateway.client.local_files import absolute
from gateway.client.parallel import Tally, in_parallel
from gateway.client.scanning import Scan, ScannedInstance
from gateway.client.transport import Transport
from gateway.client.unreadable import Skipping, Unreadable
from gateway.client.upload_body import ChunkBody, OnProgress
from gateway.contract.brief import Brief

if TYPE_CHECKING:
    from gateway.dicom.reading.instances import Instance

CHUNK, PARALLEL = 16, 8
"""Instances in one request, and requests at a time: 8 MiB of CT slices each, so that little is sent twice after a
failure, and eight fill a link that loses time with each round trip."""

MANIFEST = 10_000
"""Entries of one manifest; the gateway takes ``max_parts``, 20,000 by default."""

FIRST_MANIFEST, NEXT_MANIFESTS = CHUNK * PARALLEL, 512
"""Entries of a manifest while others are still hashed: what fills the connections, then more, up to where a round trip
no longer counts."""

OnConflict = Literal["fail", "keep", "replace"]
"""Action where the gateway stores other bytes under the same SOP Instance UID."""


@dataclass(frozen=True, repr=False)
class Reference(Brief):
    """A reference to a stored study, in one of three ways: by its UID, by series, or by the digests of files."""

    study: str = ""
    series: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()

    @property
    def words(self) -> dict[str, Any]:
        """Return the member of a request's JSON. Raises ValueError unless exactly one way is used."""
        named = {"study": self.study, "series": list(self.series), "instances": list(self.digests)}
        used = {name: value for name, value in named.items() if value}
        if len(used) != 1:
            raise ValueError("a reference names a study by its UID, by series or by digests: use exactly one")
        return used


@dataclass(frozen=True, repr=False)
class Uploaded(Brief):
    """Result of an upload: all its instances are stored on the gateway, ``sent`` of them by this upload.

    ``bytes_sent`` counts their pixels and headers, ``ignored`` the files that are not DICOM instances. ``retained`` are
    SOP Instance UIDs of which the gateway retained its own file; their entries name the digest of that file.
    ``skipped`` are the unreadable parts of the study that ``skip_unreadable`` left out.
    """

    entries: tuple[ScannedInstance, ...]
    sent: int
    bytes_sent: int
    retained: tuple[str, ...] = ()
    ignored: int = 0
    skipped: tuple[Unreadable, ...] = ()

    @property
    def study_instance_uids(self) -> list[str]:
        """The distinct UIDs, in the order in which they were found."""
        return list(dict.fromkeys(entry.study_instance_uid for entry in self.entries))

    @cached_property
    def instances(self) -> "list[Instance]":
        """Return the headers of its files, series by series, each in spatial order. Raises StudyRefused."""
        from gateway.client.study_files import spatial

        return spatial((entry.source for entry in self.entries), Skipping())

    @property
    def reference(self) -> Reference:
        """A reference to its files by digest, in the order of ``instances``."""
        digests = {entry.sop_instance_uid: entry.sha256 for entry in self.entries}
        return Reference(digests=tuple(dict.fromkeys(digests[one.sop_instance_uid] for one in self.instances)))

    @property
    def words(self) -> dict[str, Any]:
        """Return the result for a script."""
        return {
            "studies": self.study_instance_uids,
            "instances": len(self.entries),
            "sent": self.sent,
            "bytes_sent": self.bytes_sent,
            "retained": list(self.retained),
            "ignored": self.ignored,
            "skipped": [one.words for one in self.skipped],
        }


@dataclass(frozen=True)
class UploadOptions:
    """Options of an upload: instances of one request, requests at a time, and callbacks of progress."""

    chunk: int = CHUNK
    parallel: int = PARALLEL
    progress: OnProgress | None = None


def upload(
    transport: Transport, scan: Scan, cache: HashCache, on_conflict: OnConflict, pace: UploadOptions
) -> Uploaded:
    """Upload the instances of a scan; only missing ones are sent, while others are still hashed.

    Run again after a failure it sends only the rest: a chunk is stored as soon as it arrives. Raises Conflict before
    anything is sent of the manifest that it is found in; SourceUnreadable for a file that changed since it was
    hashed, ClientError.
    """
    if on_conflict not in get_args(OnConflict):
        raise ValueError(f"on_conflict is fail, keep or replace, not {on_conflict!r}")
    tally = Tally(scan.left, pace.progress)
    entries: list[ScannedInstance] = []
    wanted: list[ScannedInstance] = []
    others: dict[str, str] = {}

    def batches() -> Generator[list[ScannedInstance]]:
        for manifest in _manifests(scan):
            stored = _stored_digests(transport, manifest, on_conflict)
            missing = [entry for entry in manifest if stored[entry.sha256] is None]
            entries.extend(manifest)
            wanted.extend(missing)
            others.update({digest: other for digest, other in stored.items() if other and other != digest})
            tally.expect(scan.left + sum(entry.size for entry in wanted))
            yield from _batches(missing, pace.chunk)

    def send(batch: list[ScannedInstance]) -> dict[str, str]:
        return _send(transport, batch, on_conflict, tally, cache)

    with closing(batches()) as todo:  # where sending fails, hashing ends too
        for conflicting in in_parallel(send, todo, pace.parallel):
            others |= conflicting
    retained = tuple(entry.sop_instance_uid for entry in entries if entry.sha256 in others)
    present = tuple(replace(one, sha256=others[one.sha256]) if one.sha256 in others else one for one in entries)
    return Uploaded(present, len(wanted), sum(entry.size for entry in wanted), retained, scan.ignored, scan.skipped)


def _manifests(scan: Scan) -> Iterator[list[ScannedInstance]]:
    """Yield one manifest where all digests are cached; else several, so that one is sent while the next is hashed."""
    size, rest = MANIFEST if scan.known else FIRST_MANIFEST, iter(scan)
    while entries := list(islice(rest, size)):
        yield entries
        size = min(2 * size, max(size, NEXT_MANIFESTS))


def _stored_digests(
    transport: Transport, entries: Sequence[ScannedInstance], on_conflict: str
) -> dict[str, str | None]:
    """Map each digest to the stored one: the same, another in conflict that stays, or absent."""
    stored: dict[str, str | None] = {}
    conflicts: list[ConflictingInstance] = []
    for entry, answer in zip(entries, _ask(transport, entries), strict=True):
        state, other = answer.get("state"), one_line(str(answer.get("existing", "")))
        if state == "conflict":
            conflicts.append(ConflictingInstance(entry.sop_instance_uid, entry.sha256, other))
        keep = state == "conflict" and on_conflict == "keep"
        stored[entry.sha256] = other if keep else entry.sha256 if state == "present" else None
    if conflicts and on_conflict == "fail":
        raise Conflict(conflicts)
    return stored


def _ask(transport: Transport, batch: Sequence[ScannedInstance]) -> list[dict[str, Any]]:
    data = json.dumps([entry.words for entry in batch]).encode()
    body = {"data": data, "headers": {"Content-Type": "application/json"}}
    answer = transport.json("POST", "/studies/manifest", body=lambda: dict(body))
    return entries_of(answer, "instances", len(batch))


def entries_of(answer: Any, member: str, count: int | None = None) -> list[dict[str, Any]]:
    """Return a list of objects in an answer, of a known length. Raises AnswerCorrupt."""
    entries = answer.get(member) if isinstance(answer, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise AnswerCorrupt(f"The server's answer has no list of {member}.")
    if count not in (None, len(entries)):
        raise AnswerCorrupt(f"The server answered for {len(entries)} {member}, not for {count}.")
    return entries


def _send(
    transport: Transport, batch: list[ScannedInstance], on_conflict: str, tally: Tally, cache: HashCache
) -> dict[str, str]:
    """Send a chunk; return the digests that the gateway stores instead, by the digests sent."""
    manifest = {"instances": [entry.words for entry in batch]}
    sources, size = [entry.source for entry in batch], sum(entry.size for entry in batch)
    chunk = ChunkBody(manifest, "application/dicom", sources, size, tally)
    try:
        answer = transport.json("POST", "/studies/instances", body=chunk.body, params={"on_conflict": on_conflict})
    except Refused as error:
        if error.code in ("digest-mismatch", "instance-mismatch"):
            cache.forget(absolute(entry.source for entry in batch if isinstance(entry.source, Path)))
            raise SourceUnreadable(f"A file changed after it was hashed; try again. {error.detail}") from error
        raise
    pairs = zip(batch, entries_of(answer, "instances", len(batch)), strict=True)
    return {
        entry.sha256: one_line(str(state.get("existing", ""))) for entry, state in pairs if state.get("state") == "kept"
    }


def _batches(entries: Sequence[ScannedInstance], count: int) -> Iterator[list[ScannedInstance]]:
    rest = iter(entries)
    while batch := list(islice(rest, count)):
        yield batch
