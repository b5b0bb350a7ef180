"""Studies from peers into the store: each once at a time, whole or not at all, and none that is there already."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import (
    Cancelled,
    DeadlineExceeded,
    GatewayError,
    LimitExceeded,
    PeerFailed,
    StudyNotFound,
    from_words,
    to_words,
)
from gateway.observe.logs import exception_frames, logger
from gateway.peers.peer import SOP_UID, FetchLimits, FetchTarget, Peer, PeerQuery
from gateway.peers.peer_directory import PeerDirectory
from gateway.peers.web_search import first
from gateway.studies import instance_rows
from gateway.studies.blobs import quarantine_label
from gateway.studies.references import FetchOrder
from gateway.studies.store import Store
from gateway.studies.stow_upload import DUPLICATE, MISMATCH, StowUpload
from gateway.studies.tables import instances as table

LOOK_SECONDS = 0.5
"""Between two looks whether a request that waits for a fetch is still wanted."""

Progress = Callable[[float, float, str], None]
Record = Callable[..., None]
"""Receives the caller, and the members of an audit record."""

_REASONS = {
    MISMATCH: "an instance of another study or series",
    DUPLICATE: "two different files of one instance",
}


@dataclass
class FetchJob:
    """One fetch while it runs, in a thread of its own, and the requests that wait for it."""

    waiting: int = 0
    fetched: int = 0
    expected: int = 0
    abandoned: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    error: GatewayError | None = None

    def check(self) -> None:
        """Raise Cancelled once no request waits any more."""
        if self.abandoned:
            raise Cancelled("No request waits for this fetch any more.")


class Fetches:
    """The fetches of one process. Requests of one caller for one study share one."""

    def __init__(self, peers: PeerDirectory, store: Store, record: Record) -> None:
        self._peers, self._store, self._record = peers, store, record
        self._lock = threading.Lock()
        self._jobs: dict[tuple[str, FetchOrder, bool], FetchJob] = {}

    def fetch(
        self,
        order: FetchOrder,
        *,
        caller: str,
        again: bool,
        deadline: float,
        gone: Callable[[], bool],
        progress: Progress,
    ) -> None:
        """Have the caller's store hold what the peer has of a study; ``again`` fetches what is there, too.

        Raises ParameterRefused for a peer that the caller may not use, PeerFailed, Unavailable, StudyNotFound,
        InstanceConflict, LimitExceeded, StorageFull; Cancelled and DeadlineExceeded of this request alone.
        """
        peer, key = self._peers.admitted(order.peer, caller), (caller, order, again)
        job = self._join(key, peer)
        try:
            while not job.over.wait(LOOK_SECONDS):
                if gone():
                    raise Cancelled
                if time.monotonic() >= deadline:
                    raise DeadlineExceeded(f"The study did not arrive from the peer {order.peer} before the deadline.")
                if job.expected:
                    progress(job.fetched, job.expected, f"Instances from the peer {order.peer}")
        finally:
            self._leave(key, job)
        if job.error is not None:
            raise from_words(to_words(job.error))  # one of its own, since several threads may raise it

    def _join(self, key: tuple[str, FetchOrder, bool], peer: Peer) -> FetchJob:
        with self._lock:
            job = self._jobs.get(key)
            if job is None:
                job = self._jobs[key] = FetchJob()
                threading.Thread(target=self._run, args=[key, job, peer], name="gateway-fetch", daemon=True).start()
            job.waiting += 1
            return job

    def _leave(self, key: tuple[str, FetchOrder, bool], job: FetchJob) -> None:
        with self._lock:
            job.waiting -= 1
            if not job.waiting:
                job.abandoned = True
                self._drop(key, job)

    def _drop(self, key: tuple[str, FetchOrder, bool], job: FetchJob) -> None:
        if self._jobs.get(key) is job:
            del self._jobs[key]

    def _run(self, key: tuple[str, FetchOrder, bool], job: FetchJob, peer: Peer) -> None:
        caller, order, again = key
        try:
            stored = _Fetch(self._store, peer, order, caller, job).run(again)
            outcome = "stored" if stored else "present"
        except GatewayError as error:
            job.error, stored, outcome = error, 0, error.code
        except Exception as error:
            logger.error("a fetch failed: %s", exception_frames(error))
            job.error, stored, outcome = GatewayError("The fetch failed; the log has the reason."), 0, GatewayError.code
        named: dict[str, Any] = {"study_uid": order.study} if self._store.settings.audit_uids else {}
        study = quarantine_label(order.study)
        self._record(caller, study=study, **named, peer=order.peer, instances=stored, outcome=outcome)
        with self._lock:
            self._drop(key, job)
        job.over.set()


@dataclass(frozen=True)
class _Fetch:
    """One fetch of one caller."""

    store: Store
    peer: Peer
    order: FetchOrder
    caller: str
    job: FetchJob

    def run(self, again: bool) -> int:
        """Store what the peer has, and return how many instances; 0 where all of it was stored before."""
        listed = self._listed()
        if not again and listed <= self._stored():
            return 0
        self.job.expected = len(listed)
        settings = self.store.settings
        limits = FetchLimits(settings.max_body_bytes, settings.max_study_files)
        with StowUpload(self.store, self.caller, self.order.study) as upload:
            for series in self.order.series or ("",):
                sink = _CheckedSink(upload, self.peer.name, series, self.job)
                self.peer.fetch(FetchTarget(self.order.study, series), sink, limits, self.job.check)
            if missing := len(listed - {entry.sop_instance_uid for entry in upload.accepted}):
                raise PeerFailed(f"The peer {self.peer.name} lists {missing} instances that it does not send.")
            self.job.check()
            return len(upload.keep(whole=True).stored)

    def _listed(self) -> set[str]:
        """Return the SOP Instance UIDs that the peer lists. Raises StudyNotFound where one series has none."""
        most, found = self.store.settings.max_study_files, set[str]()
        for series in self.order.series or ("",):
            query = PeerQuery("instance", self.order.study, series, limit=most + 1)
            uids = {first(match, SOP_UID) for match in self.peer.find(query, self.job.check)}
            if not uids:
                raise StudyNotFound(f"The peer {self.peer.name} has no such study or series.")
            found |= uids
            if len(found) > most:
                raise LimitExceeded("max_study_files", most, "files", what="The study")
        return found

    def _stored(self) -> set[str]:
        study = table.c.study_instance_uid == self.order.study
        with self.store.index.reading() as connection:
            held = instance_rows.held(connection, self.caller, self.store.retention.since, study)
        return {instance.sop_instance_uid for instance in held}


class _CheckedSink:
    """An upload that ends at the first instance which is not of the order."""

    def __init__(self, upload: StowUpload, peer: str, series: str, job: FetchJob) -> None:
        self._upload, self._peer, self._series, self._job = upload, peer, series, job

    def begin_part(self, media_type: str) -> None:
        self._upload.begin_part(media_type)

    def write(self, data: bytes | memoryview) -> None:
        self._upload.write(data)

    def end(self) -> None:
        """Raises PeerFailed."""
        upload = self._upload
        upload.end()
        self._job.fetched = len(upload.accepted)
        reason = upload.failures[-1].reason if upload.failures else 0
        if not reason and self._series and upload.accepted[-1].series_instance_uid != self._series:
            reason = MISMATCH
        if reason:
            what = _REASONS.get(reason, "a part that is not a readable, whole DICOM file")
            raise PeerFailed(f"The peer {self._peer} sends {what}; nothing of the study is stored.")
