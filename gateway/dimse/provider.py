"""The service class provider of one process: its store, AE titles, bounds, and associations."""

import hmac
import logging
import socket
import threading
from collections import Counter
from collections.abc import Mapping
from functools import partial

from gateway.config import Settings
from gateway.dimse import negotiation
from gateway.dimse.commands import CommandField
from gateway.dimse.committing import CommitmentReporter, commit
from gateway.dimse.destinations import Destinations
from gateway.dimse.finding import find
from gateway.dimse.getting import get
from gateway.dimse.known_titles import KnownTitle, KnownTitles
from gateway.dimse.moving import move
from gateway.dimse.negotiation import AssociateRequest, Rejection
from gateway.dimse.peer_certificate import subject_of
from gateway.dimse.served_association import ServedAssociation, Service
from gateway.dimse.upper_layer import Pace
from gateway.dimse.verifying import verify
from gateway.errors import GatewayError
from gateway.observe.audit.auditor import Auditor
from gateway.observe.network_metrics import NetworkMetrics
from gateway.runs.signals import signals_of
from gateway.studies.arriving import Arriving
from gateway.studies.blobs import quarantine_label
from gateway.studies.store import Store

logger = logging.getLogger("gateway")


class Provider:
    """What the associations of a process share."""

    def __init__(
        self, store: Store, title: str, titles: KnownTitles, destinations: Destinations, auditor: Auditor | None
    ) -> None:
        """``title`` is the gateway's own AE title."""
        settings = self.settings = store.settings
        self._signals = signals_of(store) if settings.routing is not None else None
        self.store, self.arriving = store, Arriving(store, self._signals)
        self.title, self._titles = title, titles
        self.metrics, self.auditor = NetworkMetrics(), auditor
        self.pace = Pace(settings.dimse_idle, settings.read_timeout, settings.min_rate, settings.rate_grace)
        self.services: Mapping[str, Mapping[int, Service]] = offered(settings, destinations)
        self.reporter = CommitmentReporter(store, destinations.report_target, self.metrics.commitment)
        self.draining = False
        self._lock = threading.Lock()
        self._live: dict[ServedAssociation, str] = {}
        """Associations by their calling AE title, "" before it is known."""
        self._changed = threading.Condition(self._lock)

    def takes(self, address: str) -> bool:
        """Return True if a connection from an address may ask for an association: some AE title is there."""
        return any(known.at(address) for known in self._known().values())

    def _known(self) -> Mapping[str, KnownTitle]:
        try:
            return self._titles.all()
        except (OSError, ValueError) as error:  # who is known is not known: nobody is
            logger.error("the file of AE titles cannot be read: %s", error)
            return {}

    def serve(self, connection: socket.socket, address: str) -> None:
        """Serve a connection in a thread of its own; one beyond the bounds is closed."""
        association = ServedAssociation(self, connection, address)
        with self._lock:
            if len(self._live) >= 2 * self.settings.dimse_associations:  # half of them only to be rejected
                connection.close()
                return
            self._live[association] = ""
        self.metrics.in_flight.inc()
        threading.Thread(target=association.run, name="dimse-association", daemon=True).start()

    def judge(self, association: ServedAssociation, request: AssociateRequest, address: str) -> Rejection | None:
        """Decide on a request: None, and the association knows its peer, or the rejection."""
        if self.draining:
            return negotiation.CONGESTED
        if request.protocol & 1 == 0:
            return negotiation.PROTOCOL
        if not hmac.compare_digest(request.called.encode(), self.title.encode()):
            return negotiation.UNKNOWN_CALLED
        known = self._known().get(request.calling)
        if known is None or not known.at(address) or not known.has_subject(subject_of(association.connection)):
            return negotiation.UNKNOWN_CALLING
        try:
            if self.auditor is not None:
                self.auditor.ready()
        except GatewayError:
            return negotiation.CONGESTED
        with self._lock:
            titles = Counter(self._live.values())
            established = sum(count for title, count in titles.items() if title)
            if established >= self.settings.dimse_associations:
                return negotiation.TOO_MANY
            if titles[known.title] >= self.settings.dimse_title_associations:
                return negotiation.TOO_MANY
            self._live[association] = known.title
        association.known = known
        return None

    def ended(self, association: ServedAssociation, why: str) -> None:
        """Record the end of an association: rows, audit, metrics, log."""
        self.metrics.in_flight.dec()
        self.metrics.association(why)
        with self._lock:
            self._live.pop(association, None)
            self._changed.notify_all()
        if association.known is None:
            logger.info("association refused: %s, %s", why, association.described)
            return
        stored = sum(tally.stored for tally in association.tally.studies.values())
        failed = sum(tally.failed for tally in association.tally.studies.values())
        logger.info("association %s ended: %s, %d stored, %d failed", association.id, why, stored, failed)
        if stored:
            try:
                self.arriving.end(association.sender)
            except GatewayError as error:  # its arrivals tell by their times
                logger.warning("the end of an association was not recorded: %s %s", error.code, error.private)
        for study, tally in association.tally.studies.items():
            self.record(association, "dimse-store", study, instances=tally.stored, failures=tally.failed)

    def record(self, association: ServedAssociation, kind: str, study: str = "", **members: str | int | bool) -> None:
        """Write an audit record of what a peer did."""
        if self.auditor is None:
            return
        named: dict[str, str] = {"study": quarantine_label(study)} if study else {}
        if study and self.settings.audit_uids:
            named["study_uid"] = study
        self.auditor.event(kind, association.title.caller, title=association.title.title, **named, **members)

    def close(self) -> None:
        """Stop reporting."""
        self.reporter.stop()
        if self._signals is not None:
            self._signals.close()

    def drain(self, seconds: float) -> None:
        """Let associations end by themselves, and end those that have not after some seconds."""
        self.draining = True
        with self._changed:
            self._changed.wait_for(lambda: not self._live, seconds)
            late = list(self._live)
        for association in late:
            association.stop()
        with self._changed:
            self._changed.wait_for(lambda: not self._live, self.settings.read_timeout)


def offered(settings: Settings, destinations: Destinations) -> dict[str, dict[int, Service]]:
    """Return the services beside C-STORE, by abstract syntax and command.

    C-FIND reads the tables of DICOMweb, and is offered where these are kept.
    """
    services: dict[str, dict[int, Service]] = {
        negotiation.VERIFICATION: {CommandField.C_ECHO: verify},
        negotiation.COMMITMENT: {CommandField.N_ACTION: commit},
        negotiation.STUDY_GET: {CommandField.C_GET: get},
    }
    services[negotiation.STUDY_MOVE] = {CommandField.C_MOVE: partial(move, destinations)}
    if settings.dicomweb:
        services[negotiation.STUDY_FIND] = {CommandField.C_FIND: find}
    return services
