"""The instances of one STOW-RS request: received part by part, judged one by one, kept together (PS3.18 10.5)."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import NamedTuple

from sqlalchemy import Connection

from gateway.errors import InstanceConflict, LimitExceeded, StudyRefused
from gateway.studies import instance_rows
from gateway.studies.arrival_rows import Sender
from gateway.studies.blobs import Incoming
from gateway.studies.file_batch import SETTLERS
from gateway.studies.manifests import ManifestEntry, is_uid
from gateway.studies.store import Store
from gateway.studies.uploads import ArrivedInstance, InstanceBatch

DICOM_TYPE = "application/dicom"
DUPLICATE, MISMATCH, UNREADABLE = 0x0111, 0xA900, 0xC000
"""Failure reasons (PS3.7 C, PS3.4 B.2.3, PS3.18 10.5.3): another file of this SOP Instance UID is held; the data set
does not belong to the study of the request; the part is no readable, whole DICOM file with valid UIDs."""


class StowedInstance(NamedTuple):
    """An instance that is held now."""

    sop_class_uid: str
    entry: ManifestEntry


class StowFailure(NamedTuple):
    """A part that was not stored; its UIDs are "" where it has none that are valid."""

    reason: int
    sop_class_uid: str = ""
    sop_instance_uid: str = ""


@dataclass
class StowOutcome:
    """What became of the parts of a request, in their order."""

    stored: list[StowedInstance] = field(default_factory=list)
    failures: list[StowFailure] = field(default_factory=list)


Beside = Callable[[Connection, StowOutcome], None]
"""Does more in the transaction that keeps instances."""


class _Beside:
    """The threads of one request: one that hashes a part, and those that make hashed parts last."""

    def __init__(self) -> None:
        self.hashing, self.settling = ThreadPoolExecutor(1), ThreadPoolExecutor(SETTLERS)
        self.settled: list[Future[None]] = []

    def close(self) -> None:
        """Drop what has not begun, and wait for the rest."""
        for threads in (self.hashing, self.settling):
            threads.shutdown(cancel_futures=True)


class StowUpload(InstanceBatch):
    """The parts of one request. Use as a context manager: what was not kept at its end is gone."""

    def __init__(
        self, store: Store, caller: str, study: str = "", sender: Sender | None = None, *, overlap: bool = False
    ) -> None:
        """``study`` is the only one that is taken, "" for all.

        With a ``sender`` the instances count as arrived, and rules may take their studies. With ``overlap`` a part is
        hashed and made to last while the next ones are received: ``accepted`` and ``failures`` are one part behind.
        """
        self._accepted: list[ManifestEntry] = []
        super().__init__(store, caller, self._accepted)
        self._study, self._sender = study, sender
        self._classes: dict[str, str] = {}
        self._digests: dict[str, str] = {}
        self._failures: list[StowFailure] = []
        self._named = DICOM_TYPE
        self._beside = _Beside() if overlap else None
        self._last: tuple[Incoming, Future[None]] | None = None

    def begin_part(self, media_type: str) -> None:
        """The next part begins, of a ``media_type``, "" where its header does not state one. Raises StorageFull."""
        self._named = media_type or DICOM_TYPE
        self._files.append(self._store.incoming(hashed=self._beside is None))

    def write(self, data: bytes | memoryview) -> None:
        """More of the current part. Raises StorageFull."""
        self._files[-1].write(data)

    def end(self) -> None:
        """The current part is complete; one that is not stored is removed, now or with the end of the next."""
        file = self._files[-1]
        self._end_last()
        if self._named != DICOM_TYPE:
            self._leave_out(file, StowFailure(UNREADABLE))
        elif self._beside is None:
            self._decide(file)
        else:
            self._last = file, self._beside.hashing.submit(file.hash_written)

    def _end_last(self) -> None:
        """Decide on the part before the current one, which has its digest by now."""
        if self._last is not None:
            (file, hashed), self._last = self._last, None
            hashed.result()
            self._decide(file)

    def _decide(self, file: Incoming) -> None:
        failure = self._judge(file)
        if failure is not None:
            self._leave_out(file, failure)
        elif self._beside is not None and self._blobs.waits:
            self._beside.settled.append(self._beside.settling.submit(self._settle, (file.sha256, file)))

    def _leave_out(self, file: Incoming, failure: StowFailure) -> None:
        self._files.remove(file)
        file.discard()
        if failure.reason:
            self._failures.append(failure)

    def settle(self) -> None:
        """Make all parts last, and wait for those that others make last. Raises StorageFull, Unavailable."""
        self._end_last()
        if self._beside is None or not self._blobs.waits:
            super().settle()
        for settled in self._beside.settled if self._beside is not None else ():
            settled.result()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._beside is not None:
            self._beside.close()
        super().__exit__(kind, error, tb)

    def _judge(self, file: Incoming) -> StowFailure | None:
        """The failure of a part, of reason 0 for the same file once more; None for one that is accepted."""
        try:
            with file.reader() as opened:
                attributes = self._reader.read(opened)
        except (StudyRefused, LimitExceeded):
            return StowFailure(UNREADABLE)
        *uids, complete = attributes.identity
        sop_class, sop, series, study = uids
        if not all(map(is_uid, uids)):
            return StowFailure(UNREADABLE)
        if not complete:
            return StowFailure(UNREADABLE, sop_class, sop)
        if self._study and study != self._study:
            return StowFailure(MISMATCH, sop_class, sop)
        if (digest := self._digests.setdefault(sop, file.sha256)) != file.sha256:
            return StowFailure(DUPLICATE, sop_class, sop)
        if digest in self._classes:
            return StowFailure(0)
        self._accepted.append(ManifestEntry(sop, series, study, file.size, digest))
        self._classes[digest], self._attributes[digest] = sop_class, attributes
        return None

    @property
    def accepted(self) -> Sequence[ManifestEntry]:
        """What was accepted so far, in its order."""
        return self._accepted

    @property
    def failures(self) -> Sequence[StowFailure]:
        """What was not accepted so far."""
        return self._failures

    def keep(self, *, whole: bool = False, beside: Beside = lambda _connection, _outcome: None) -> StowOutcome:
        """Keep what was accepted, all at once; ``whole`` refuses a conflict instead of leaving the instance out.

        ``beside`` does more in the same transaction. Raises StorageFull, Unavailable, InstanceConflict, and what
        ``beside`` raises.
        """
        self.settle()
        outcome = StowOutcome(failures=list(self._failures))
        with self._store.index.writing() as connection:
            since = self._store.retention.since
            states = instance_rows.states(connection, self._caller, since, self._accepted)
            if whole:
                self._refuse_conflicts(states)
            judged = list(zip(self._accepted, states, strict=True))
            own = self._returned(connection, states)
            for entry, (state, existing) in judged:
                sop_class = self._classes[entry.sha256]
                if state == "conflict" and entry.sop_instance_uid not in own:
                    outcome.failures.append(StowFailure(DUPLICATE, sop_class, entry.sop_instance_uid))
                else:
                    outcome.stored.append(StowedInstance(sop_class, replace(entry, sha256=existing or entry.sha256)))
            self._hold(connection, [entry for entry, (state, _) in judged if state != "conflict"])
            if (sender := self._sender) is not None:
                kept = ((entry, state) for entry, (state, _) in judged if state != "conflict")
                self._count(connection, [ArrivedInstance(sender, entry, state == "missing") for entry, state in kept])
            beside(connection, outcome)
        return outcome

    def _refuse_conflicts(self, states: Sequence[tuple[str, str | None]]) -> None:
        conflicts = [
            {"sop_instance_uid": entry.sop_instance_uid, "sha256": entry.sha256, "existing": existing}
            for entry, (state, existing) in zip(self._accepted, states, strict=True)
            if state == "conflict"
        ]
        if conflicts:
            raise InstanceConflict(
                "The peer has another file of an instance that is stored here; delete the study here, and fetch again.",
                conflicts=conflicts,
            )
