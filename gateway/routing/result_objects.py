"""The DICOM objects of a run: stored, queued for the destinations of the rule, and the routing ended, all at once."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from sqlalchemy import Connection

from gateway.contract.model import Model
from gateway.dicom.writing.notice import Cause
from gateway.errors import GatewayError, StudyNotFound
from gateway.routing.notice_files import notice_file
from gateway.routing.rules import Rule
from gateway.routing.study_contents import read_content
from gateway.studies import delivery_rows, instance_rows, round_rows, routing_rows
from gateway.studies.routing_rows import Routing, RoutingState
from gateway.studies.store import Store
from gateway.studies.stow_upload import DICOM_TYPE, StowOutcome, StowUpload
from gateway.studies.tables import instances as table

logger = logging.getLogger("gateway")

CAUSES = {RoutingState.REFUSED: Cause.REFUSED, RoutingState.FAILED: Cause.FAILED}


class RoutingLost(Exception):
    """Another process has the routing by now, or its study was forgotten."""


class ResultObjects:
    """Stores what rules make, and has it delivered."""

    def __init__(self, store: Store, models: Mapping[str, Model], holder: str, wake: Callable[[], None]) -> None:
        """``wake`` has deliveries begin; ``holder`` is the name by which this process claims routings."""
        self._store, self._models, self._holder, self._wake = store, models, holder, wake

    def store(self, claimed: Routing, rule: Rule, objects: Sequence[memoryview]) -> None:
        """Store the objects of a finished run, and end its routing.

        Raises StorageFull, Unavailable, and GatewayError for objects that cannot be stored.
        """
        self._keep(claimed, rule, objects, RoutingState.DONE, "")

    def explain(self, claimed: Routing, rule: Rule, state: RoutingState, sentence: str) -> None:
        """End a routing without results, with the notice that its rule asks for. Raises StorageFull, Unavailable."""
        notice = self._notice(claimed, rule, CAUSES[state], sentence) if rule.notice != "none" else None
        self._keep(claimed, rule, [] if notice is None else [memoryview(notice)], state, sentence)

    def _notice(self, claimed: Routing, rule: Rule, cause: Cause, sentence: str) -> bytes | None:
        """Return the notice of a rule; None where the study is gone, or cannot be read."""
        since, column = self._store.retention.since, table.c.sha256
        with self._store.index.reading() as connection:
            held = instance_rows.held_in(connection, claimed.caller, since, column, claimed.digests)
        try:
            if not held:
                raise StudyNotFound("The study is not stored any more.")
            with ExitStack() as stack:
                files = [stack.enter_context(file) for file in self._store.open_instances(held, unchanged=True)]
                moment, content = claimed.created_at, claimed.content
                return notice_file(
                    rule, self._models[rule.model], cause, sentence, files=files, content=content, made_at=moment
                )
        except StudyNotFound as error:
            logger.warning("routing %s has no notice: %s %s", claimed.id, error.code, error.private)
            return None

    def _keep(
        self, claimed: Routing, rule: Rule, objects: Sequence[memoryview], state: RoutingState, sentence: str
    ) -> None:
        with self._store.index.reading() as connection:
            of = round_rows.get(connection, claimed.round)
            inputs = set() if of is None else self._inputs(connection, claimed.caller, of.study_instance_uid)
        if of is None:
            return

        def end(connection: Connection, outcome: StowOutcome) -> None:
            if outcome.failures:
                count, reason = len(outcome.failures), outcome.failures[0].reason
                raise GatewayError(f"{count} of the run's objects cannot be stored; the first for {reason:04X}H.")
            now = self._store.clock()
            stored = [one.entry for one in outcome.stored if one.entry.sha256 not in inputs]
            values = {"state": state.value, "sentence": sentence, "results": len(stored), "ended_at": now}
            if not routing_rows.settle(connection, claimed.id, self._holder, now, **values):
                raise RoutingLost
            made = [(entry.sop_instance_uid, entry.sha256) for entry in stored]
            routing_rows.note_own(connection, (uid for uid, _ in made), now)
            for destination in rule.destinations if made else ():
                delivery_rows.queue(
                    connection,
                    caller=claimed.caller,
                    destination=destination,
                    study=of.study_instance_uid,
                    instances=made,
                    now=now,
                    run_key=claimed.run_key,
                )

        try:
            with StowUpload(self._store, claimed.caller, of.study_instance_uid) as upload:
                for one in objects:
                    upload.begin_part(DICOM_TYPE)
                    upload.write(one)
                    upload.end()
                upload.keep(beside=end)
        except RoutingLost:
            return
        logger.info("routing %s by rule %s is %s: %d objects", claimed.id, rule.name, state.value, len(objects))
        self._wake()

    def _inputs(self, connection: Connection, caller: str, study: str) -> set[str]:
        """Return the digests of a study that are no rule's results: a model may return an instance that it was given.

        As a result, it would be missing from each later round.
        """
        return {one.sha256 for one in read_content(connection, self._store, caller, study).instances}
