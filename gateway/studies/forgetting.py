"""Forgetting a study: its instances, results and runs, its files in sessions of Backend.AI's API, what was set aside of
it, and a record that says so.

What is received for a request lies in a file without a name and goes with the request: nothing of a study is there.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from gateway.errors import StudyNotFound
from gateway.observe.logs import TaggedLogger
from gateway.studies import arrival_rows, delivery_rows, instance_rows, round_rows, run_rows, session_rows
from gateway.studies.blobs import quarantine_label
from gateway.studies.query import query_rows
from gateway.studies.results import Results
from gateway.studies.store import Store
from gateway.studies.tables import holdings

logger = logging.getLogger("gateway")


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """The record of a forgotten study. ``study_digest`` is the sha256 of its UID; ``everybody`` tells whether all
    callers lost it.

    ``instances`` and ``size`` in bytes are what was held; bytes that somebody else holds too are still here.
    ``uploads`` are files in sessions, ``deliveries`` those that were pending.
    """

    study_digest: str
    caller: str
    everybody: bool
    instances: int
    size: int
    results: int
    runs: int
    uploads: int = 0
    deliveries: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """What was forgotten of each kind."""
        return {
            "instances": self.instances,
            "bytes": self.size,
            "results": self.results,
            "runs": self.runs,
            "uploads": self.uploads,
            "deliveries": self.deliveries,
        }

    @property
    def members(self) -> dict[str, str | int | bool]:
        """For a record of an audit, beside the caller."""
        return {**self.counts, "everybody": self.everybody, "study": self.study_digest}


Sink = Callable[[Forgotten], None]
"""Receives the record of each forgotten study; it never raises."""


def log_forgotten(record: Forgotten) -> None:
    """The record as a line of the log."""
    tags = {"study_digest": record.study_digest, "caller": record.caller, "everybody": record.everybody}
    TaggedLogger(logger).tag(tags).info(
        "forgot a study: %s", ", ".join(f"{number} {kind}" for kind, number in record.counts.items())
    )


def forget(store: Store, study: str, caller: str, *, everybody: bool = False, audit: Sink = log_forgotten) -> Forgotten:
    """Forget what a caller, or ``everybody``, has here of a study. Who reads its files now reads to the end.

    Raises StudyNotFound where there is nothing of it.
    """
    mine = [] if everybody else [holdings.c.caller == caller]
    with store.index.writing() as connection:
        instances = instance_rows.of_study(connection, None if everybody else caller, study)
        # the instances last: where a file cannot be removed, all of them are still there
        results = Results(store).forget(connection, study, None if everybody else caller)
        keys = run_rows.keys_of_study(connection, study, None if everybody else caller)
        run_rows.remove(connection, store.blobs["runs"], keys)
        uploads = session_rows.remove_study(connection, store.blobs["sessions"], study, None if everybody else caller)
        store.blobs["instances"].purge(quarantine_label(study))
        for some in instance_rows.pieces(instance.sha256 for instance in instances):
            instance_rows.release(connection, holdings.c.sha256.in_(some), *mine)
        # those too whose place another file took
        remaining = instance_rows.of_study(connection, None, study) if instances else []
        store.retention.collect(connection, (instance.sha256 for instance in remaining), used_too=True)
        query_rows.prune(connection, [study])
        arrival_rows.forget(connection, None if everybody else caller, [study])
        round_rows.forget(connection, None if everybody else caller, [study])
        deliveries = delivery_rows.forget(connection, None if everybody else caller, study)
    if not instances and not results and not keys and not uploads:
        raise StudyNotFound("No instance of such a study is stored for this caller.")
    record = Forgotten(
        study_digest=quarantine_label(study),
        caller=caller,
        everybody=everybody,
        instances=len(instances),
        size=sum(instance.size for instance in instances),
        results=results,
        runs=len(keys),
        uploads=uploads,
        deliveries=deliveries,
    )
    audit(record)
    return record
