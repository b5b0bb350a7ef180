"""A chunk of a study: its instances are checked, stored, and recorded for the caller who sent them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Literal, NamedTuple, get_args

from sqlalchemy import Connection

from gateway.dicom.reading.completeness import is_cut_off
from gateway.dicom.reading.files import NotAnInstance
from gateway.dicom.reading.identity import Identity, identify
from gateway.dicom.web.instance_attributes import AttributeReader, InstanceAttributes
from gateway.errors import InstanceConflict, InstanceMismatch, LimitExceeded, StudyRefused
from gateway.studies import arrival_rows, instance_rows, round_rows, routing_rows
from gateway.studies.arrival_rows import Sender
from gateway.studies.file_batch import Check, FileBatch
from gateway.studies.manifests import ManifestEntry
from gateway.studies.query import query_rows
from gateway.studies.store import Store
from gateway.studies.tables import holdings

OnConflict = Literal["fail", "keep", "replace"]
WAYS: tuple[OnConflict, ...] = get_args(OnConflict)

_OUTCOMES = {"fail": "stored", "keep": "kept", "replace": "replaced"}


@dataclass(frozen=True, slots=True)
class UploadOutcome:
    """The outcome of one entry: ``stored``, or ``kept`` or ``replaced`` and the digest that stays or went."""

    entry: ManifestEntry
    state: str
    existing: str | None = None


class ArrivedInstance(NamedTuple):
    """An instance that was transmitted; ``is_new`` where its sender's caller did not have the same file before."""

    sender: Sender
    entry: ManifestEntry
    is_new: bool


class InstanceBatch(FileBatch):
    """Instances on their way into the store for one caller, with their attributes where DICOMweb is on."""

    def __init__(self, store: Store, caller: str, entries: Sequence[ManifestEntry], check: Check | None = None) -> None:
        super().__init__(store, "instances", entries, check)
        self._caller, self._entries = caller, entries
        self._attributes: dict[str, InstanceAttributes] = {}
        self._reader = AttributeReader()

    def _hold(self, connection: Connection, entries: Sequence[ManifestEntry]) -> None:
        """Place settled files, and record that the caller has them. Raises StorageFull."""
        store, now = self._store, self._store.clock()
        # room for all, also for what others have sent: a full store must not tell the two apart
        studies = {entry.study_instance_uid for entry in entries}
        begun = partial(instance_rows.begun, connection, self._caller, studies)
        store.retention.make_room(connection, self._caller, sum(entry.size for entry in entries), begun)
        known = instance_rows.known(connection, (entry.sha256 for entry in entries))
        new = [(entry, self.place(entry.sha256)) for entry in entries if entry.sha256 not in known]
        for entry in entries:
            if entry.sha256 in known and not store.blobs["instances"].has(known[entry.sha256], entry.size):
                self.place(entry.sha256)  # its file was lost; the digest is its location in a folder
        with self.lasting():
            instance_rows.add(connection, new, now)
            instance_rows.hold(connection, self._caller, entries, now)
            described = (_described(entry, self._attributes) for entry in entries if entry.sha256 in self._attributes)
            query_rows.add(connection, self._caller, described, now)

    def _returned(self, connection: Connection, states: Sequence[tuple[str, str | None]]) -> set[str]:
        """Return the UIDs of conflicts that are results of rules, which are stored here, in other bytes perhaps."""
        pairs = zip(self._entries, states, strict=True)
        return routing_rows.own(
            connection, [entry.sop_instance_uid for entry, (state, _) in pairs if state == "conflict"]
        )

    def _count(self, connection: Connection, arrived: Sequence[ArrivedInstance]) -> bool:
        """Count what has arrived; True where a round of a study has begun by it, where studies are routed.

        A result of a rule that returns belongs to no round.
        """
        now, routed = self._store.clock(), self._store.settings.routing is not None
        own = routing_rows.own(connection, (one.entry.sop_instance_uid for one in arrived)) if routed else set()
        by_study: dict[tuple[Sender, str], list[ArrivedInstance]] = {}
        for one in arrived:
            by_study.setdefault((one.sender, one.entry.study_instance_uid), []).append(one)
        begun = False
        for (sender, study), some in by_study.items():
            arrival_rows.count(connection, sender, study, len(some), now)
            foreign = [one for one in some if one.entry.sop_instance_uid not in own]
            if routed and foreign:
                new = any(one.is_new for one in foreign)
                begun |= round_rows.arrived(connection, sender, study, new=new, now=now)
        return begun


def _described(entry: ManifestEntry, attributes: dict[str, InstanceAttributes]) -> query_rows.Described:
    uids = entry.sop_instance_uid, entry.series_instance_uid, entry.study_instance_uid
    return query_rows.Described(entry.sha256, *uids, attributes[entry.sha256])


class InstanceUpload(InstanceBatch):
    """The instances of one chunk."""

    def __init__(
        self,
        store: Store,
        caller: str,
        on_conflict: OnConflict,
        entries: Sequence[ManifestEntry],
        sender: Sender | None = None,
    ) -> None:
        """With a ``sender`` the chunk counts as arrived, and rules may take its study.

        Raises InstanceConflict before a byte has come where ``on_conflict`` is fail; LimitExceeded.
        """
        super().__init__(store, caller, entries, self._check_identity)
        self._on_conflict, self._sender = on_conflict, sender
        if sum(entry.size for entry in entries) > store.settings.max_body_bytes:
            raise LimitExceeded("max_body_bytes", store.settings.max_body_bytes, what="The chunk")
        self._refuse_conflicts(store.states(caller, entries))

    def keep(self) -> list[UploadOutcome]:
        """Keep the chunk. Raises BrokenJSON for too few files, InstanceConflict, StorageFull, Unavailable."""
        self.settle()
        with self._store.index.writing() as connection:
            return self._keep(connection)

    def _keep(self, connection: Connection) -> list[UploadOutcome]:
        store, mine = self._store, holdings.c.caller == self._caller
        states = instance_rows.states(connection, self._caller, store.retention.since, self._entries)
        self._refuse_conflicts(states)
        outcomes = [
            UploadOutcome(entry, _OUTCOMES[self._on_conflict] if state == "conflict" else "stored", existing)
            for entry, (state, existing) in zip(self._entries, states, strict=True)
        ]
        if replaced := [outcome.existing for outcome in outcomes if outcome.state == "replaced" and outcome.existing]:
            released = instance_rows.release(connection, mine, holdings.c.sha256.in_(replaced))
            store.retention.collect(connection, released)
        self._hold(connection, [outcome.entry for outcome in outcomes if outcome.state != "kept"])
        if (sender := self._sender) is not None:
            held = [(one.entry, state) for one, (state, _) in zip(outcomes, states, strict=True) if one.state != "kept"]
            self._count(connection, [ArrivedInstance(sender, entry, state != "present") for entry, state in held])
        return outcomes

    def _refuse_conflicts(self, states: Sequence[tuple[str, str | None]]) -> None:
        conflicts = [
            {"sop_instance_uid": entry.sop_instance_uid, "sha256": entry.sha256, "existing": existing}
            for entry, (state, existing) in zip(self._entries, states, strict=True)
            if state == "conflict"
        ]
        if conflicts and self._on_conflict == "fail":
            raise InstanceConflict(
                "Another file of the same SOP Instance UID was sent before; say keep or replace by on_conflict.",
                conflicts=conflicts,
            )

    def _check_identity(self, file: BinaryIO, number: int) -> None:
        entry = self._entries[number]
        try:
            identity = identify(file)
        except StudyRefused as error:
            what = "is no DICOM" if isinstance(error, NotAnInstance) else "has a header that cannot be read"
            raise InstanceMismatch(f"File {number} {what}.", instance=number) from error
        if identity != Identity(entry.sop_instance_uid, entry.series_instance_uid, entry.study_instance_uid):
            raise InstanceMismatch(f"File {number} holds other UIDs than its entry says.", instance=number)
        if self._is_cut_off(file, entry):
            raise StudyRefused(f"File {number} ends within its pixels. Export it again.", instance=number)

    def _is_cut_off(self, file: BinaryIO, entry: ManifestEntry) -> bool:
        """Return True if pixels are missing; read the attributes on the way where DICOMweb is on."""
        if not self._store.settings.dicomweb:
            return is_cut_off(file)
        attributes = self._attributes[entry.sha256] = self._reader.read(file)
        return not attributes.complete
