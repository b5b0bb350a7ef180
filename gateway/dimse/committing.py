"""Storage commitment: requested by N-ACTION, and reported on an association of its own (PS3.4 J)."""

import logging
import threading
from collections.abc import Callable

from gateway.dicom.reading.file_heads import read_file_head
from gateway.dicom.web.commitment_data import read_commitment
from gateway.dimse.commands import Command, CommandElement
from gateway.dimse.negotiation import AcceptedContext
from gateway.dimse.served_association import ServedAssociation
from gateway.errors import GatewayError, PeerFailed, StudyNotFound, StudyRefused, Unavailable
from gateway.peers.dimse_report import ReportTarget
from gateway.studies import commitment_rows
from gateway.studies.commitment_rows import Commitment, CommitmentState, Reference
from gateway.studies.manifests import is_uid
from gateway.studies.query.visibility import held_instances
from gateway.studies.store import Store

logger = logging.getLogger("gateway")

PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
"""The well-known instance that such requests are sent to (PS3.4 J.3.5)."""
REQUEST = 1
"""Action Type ID of Request Storage Commitment (PS3.4 J.3.2)."""
SUCCESS, FAILED, NO_INSTANCE, INVALID, NO_ACTION = 0x0000, 0x0110, 0x0112, 0x0115, 0x0123
CLASS_CONFLICT = 0x0119
"""The instance is of another class than the request says (PS3.3 C.14)."""
SECONDS = 1.0
"""Between two looks at the table, where no request came meanwhile."""
LEASE_SECONDS, FIRST_PAUSE, LONGEST_PAUSE, TRIES = 300.0, 5.0, 3_600.0, 30
"""A try takes minutes at most; pauses double up to an hour, so that a peer may be away for a day."""


def commit(association: ServedAssociation, command: Command, context: AcceptedContext, data: bytes) -> None:
    """Answer an N-ACTION-RQ: the request is recorded before the response, and reported later."""
    association.respond(command, context, command.response(*_recorded(association, command, context, data)))


def _recorded(
    association: ServedAssociation, command: Command, context: AcceptedContext, data: bytes
) -> tuple[int, str]:
    if command.text(CommandElement.REQUESTED_INSTANCE) != PUSH_MODEL_INSTANCE:
        return NO_INSTANCE, "Storage commitment has one well-known instance"
    if command.number(CommandElement.ACTION_TYPE) != REQUEST:
        return NO_ACTION, "The action type of storage commitment is 1"
    provider, known = association.provider, association.title
    if not provider.reporter.reaches(known.title):
        return FAILED, "No peer of this AE title is configured to report to"
    try:
        request = read_commitment(data, context.transfer_syntax)
        if not is_uid(request.transaction_uid) or not all(is_uid(uid) for pair in request.instances for uid in pair):
            return INVALID, "A UID of the request is not valid"
        found = Commitment(known.title, request.transaction_uid, known.caller, request.instances)
        with provider.store.index.writing() as connection:
            commitment_rows.request(connection, found, provider.store.clock())
    except StudyRefused as error:
        return INVALID, error.detail
    except GatewayError as error:
        return FAILED, error.detail
    provider.record(association, "dimse-commitment", instances=len(request.instances))
    provider.reporter.wake()
    return SUCCESS, ""


def evaluate(store: Store, commitment: Commitment) -> tuple[list[Reference], list[tuple[str, str, int]]]:
    """Return what of a commitment its caller has here, each file checked against its digest, and what failed and why.

    Raises Unavailable.
    """
    held = held_instances(store, commitment.caller, [sop for _, sop in commitment.instances])
    stored, failed = list[Reference](), list[tuple[str, str, int]]()
    for sop_class, sop in commitment.instances:
        instance = held.get(sop)
        if instance is None:
            failed.append((sop_class, sop, NO_INSTANCE))
            continue
        try:
            with store.open_instances([instance])[0] as file:
                same = read_file_head(file).sop_class_uid == sop_class
        except StudyNotFound:
            failed.append((sop_class, sop, NO_INSTANCE))
        except StudyRefused:
            failed.append((sop_class, sop, FAILED))
        else:
            if same:
                stored.append((sop_class, sop))
            else:
                failed.append((sop_class, sop, CLASS_CONFLICT))
    return stored, failed


class CommitmentReporter:
    """Reports what is due, in a thread; several processes share the table."""

    def __init__(
        self, store: Store, targets: Callable[[str], ReportTarget | None], count: Callable[[str], None]
    ) -> None:
        """``targets`` returns where to report to an AE title; ``count`` counts the outcome of each try."""
        self._store, self._targets, self._count = store, targets, count
        self._due, self._stopped = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="dimse-commitments", daemon=True)
        self._thread.start()

    def reaches(self, title: str) -> bool:
        """Return True if a peer of this AE title is configured."""
        return self._targets(title) is not None

    def wake(self) -> None:
        """Look at the table now."""
        self._due.set()

    def stop(self) -> None:
        """End the thread, once what it does now is done."""
        self._stopped = True
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            self._due.clear()
            try:
                while not self._stopped and self._report_one():
                    pass
            except GatewayError as error:
                logger.warning("storage commitments wait: %s %s", error.code, error.private)
            self._due.wait(SECONDS)

    def _report_one(self) -> bool:
        store = self._store
        with store.index.reading() as connection:  # most looks find nothing, and lock nobody out
            if not commitment_rows.is_due(connection, store.clock()):
                return False
        with store.index.writing() as connection:
            now = store.clock()
            found = commitment_rows.lease(connection, now, now + LEASE_SECONDS)
        if found is None:
            return False
        outcome = self._tried(found)
        self._count(outcome)
        last = outcome == "failed" and found.tries + 1 >= TRIES
        state = {"reported": CommitmentState.REPORTED, "failed": CommitmentState.PENDING}[outcome]
        pause = min(FIRST_PAUSE * 2.0 ** min(found.tries, 20), LONGEST_PAUSE)
        with store.index.writing() as connection:
            commitment_rows.settle(
                connection, found, CommitmentState.ABANDONED if last else state, store.clock() + pause
            )
        return True

    def _tried(self, found: Commitment) -> str:
        target = self._targets(found.sender)
        if target is None:
            logger.warning("a storage commitment was not reported: no peer has the AE title %s", found.sender)
            return "failed"
        try:
            target.report(found.transaction_uid, *evaluate(self._store, found))
        except (PeerFailed, Unavailable) as error:
            logger.warning("a storage commitment was not reported to %s: %s", found.sender, error.private)
            return "failed"
        return "reported"
