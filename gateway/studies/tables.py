"""The tables of the index. What they say is made in ``migrations``; a test compares the two."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

UID = String(64).with_variant(String(64, collation="C"), "postgresql")
"""PS3.5 6.2: a UI has 64 characters at most; in the same order whatever the database and its language."""
DIGEST = String(64)
CALLER = String(255)

metadata = MetaData()

instances = Table(
    "instances",
    metadata,
    Column("sha256", DIGEST, primary_key=True),
    Column("location", String(80), nullable=False),
    Column("sop_instance_uid", UID, nullable=False),
    Column("series_instance_uid", UID, nullable=False, index=True),
    Column("study_instance_uid", UID, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("stored_at", Double, nullable=False),
    Column("used_at", Double, nullable=False, index=True),
)
"""Stored files, each once. Times are seconds since 1970."""

holdings = Table(
    "holdings",
    metadata,
    Column("caller", CALLER, primary_key=True),
    Column("sha256", ForeignKey("instances.sha256", ondelete="CASCADE"), primary_key=True, index=True),
    Column("sop_instance_uid", UID, nullable=False),
    Column("held_at", Double, nullable=False, index=True),
    UniqueConstraint("caller", "sop_instance_uid", name="uq_holdings_caller"),
)
"""Callers by the files that they have sent. A caller holds one file for each SOP Instance UID."""

results = Table(
    "results",
    metadata,
    Column("id", DIGEST, primary_key=True),
    Column("caller", CALLER, nullable=False),
    Column("model", String(255), nullable=False),
    Column("version", String(255), nullable=False),
    Column("model_digest", String(64), nullable=False),
    Column("weights_digest", String(64), nullable=False),
    Column("parameters_digest", String(64), nullable=False),
    Column("input_digest", DIGEST, nullable=False),
    Column("output_digest", DIGEST, nullable=False),
    Column("body_sha256", DIGEST, nullable=False),
    Column("location", String(80), nullable=False),
    Column("parts", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("created_at", Double, nullable=False, index=True),
    Column("used_at", Double, nullable=False, index=True),
    Index("ix_results_caller_created_at", "caller", "created_at"),
)
"""Stored answers. ``parts`` is JSON: the media type and the bytes of each part behind the JSON part."""

result_instances = Table(
    "result_instances",
    metadata,
    Column("result_id", ForeignKey("results.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("sha256", DIGEST, nullable=False),
    Column("series_instance_uid", UID, nullable=False, index=True),
    Column("study_instance_uid", UID, nullable=False, index=True),
)
"""What a result was made from, in order; it outlives the instances themselves."""

bundles = Table(
    "bundles",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("folded", Text, nullable=False),
    Column("sha256", DIGEST, nullable=False, index=True),
    Column("location", String(80), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime", Double, nullable=False),
    UniqueConstraint("name", "folded", name="uq_bundles_name"),
)
"""Files of bundles. ``folded`` is the key without case, since some file systems know none."""

input_digests = Table(
    "input_digests",
    metadata,
    Column("id", DIGEST, primary_key=True),
    Column("digest", DIGEST, nullable=False),
    Column("used_at", Double, nullable=False, index=True),
)
"""Input digests of ordered references, so that none is computed twice."""

runs = Table(
    "runs",
    metadata,
    Column("key", DIGEST, primary_key=True),
    Column("caller", CALLER, nullable=False),
    Column("id", String(64), nullable=False),
    Column("route", String(255), nullable=False),
    Column("body_digest", DIGEST, nullable=False),
    Column("state", String(16), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("cancelling", Boolean, nullable=False),
    Column("holder", String(32), nullable=False),
    Column("lease_until", Double, nullable=False),
    Column("available_at", Double, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double, index=True),
    Column("status", Integer, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("expired", Boolean, nullable=False),
    Index("ix_runs_caller_created_at", "caller", "created_at"),
    Index("ix_runs_state_created_at", "state", "created_at"),
)
"""Runs: ids, states, digests and times alone. ``key`` is a digest of caller and id. ``sequence`` is that of the last
record, ``holder`` the process that executes the run until ``lease_until``. The payloads of an ``expired`` run are gone.
"""

run_records = Table(
    "run_records",
    metadata,
    Column("key", ForeignKey("runs.key", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("at", Double, nullable=False),
    Column("state", String(16), nullable=False),
    Column("location", String(80), nullable=False, index=True),
    Column("sha256", DIGEST, nullable=False),
    Column("size", BigInteger, nullable=False),
)
"""Input, events, result and problem of each run, in order. A ``location`` of "" has no payload in the store."""

run_studies = Table(
    "run_studies",
    metadata,
    Column("key", ForeignKey("runs.key", ondelete="CASCADE"), primary_key=True),
    Column("study_instance_uid", UID, primary_key=True, index=True),
)
"""The studies that a run has read or was sent, so that it is forgotten with them."""

webhooks = Table(
    "webhooks",
    metadata,
    Column("run_key", ForeignKey("runs.key", ondelete="CASCADE"), primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("origin", String(300), nullable=False),
    Column("url", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("outcome", String(32), nullable=False),
    Index("ix_webhooks_state_next_at", "state", "next_at"),
)
"""Where the end of a run is reported to. One that is being delivered has its ``next_at`` after that, so that another
process takes it over from one that died. ``outcome`` is that of the last try.
"""

arrivals = Table(
    "arrivals",
    metadata,
    Column("association", String(32), primary_key=True),
    Column("study_instance_uid", UID, primary_key=True),
    Column("caller", CALLER, nullable=False),
    Column("sender", String(16), nullable=False),
    Column("began_at", Double, nullable=False),
    Column("latest_at", Double, nullable=False, index=True),
    Column("ended_at", Double),
    Column("instances", Integer, nullable=False),
    Index("ix_arrivals_caller_study_instance_uid", "caller", "study_instance_uid"),
)
"""What each association stored of each study: ``sender`` is its calling AE title, ``began_at`` and ``latest_at`` are
the times of its first and its latest instance. ``ended_at`` is absent while it lasts, and where its process died.
"""

commitments = Table(
    "commitments",
    metadata,
    Column("sender", String(16), primary_key=True),
    Column("transaction_uid", UID, primary_key=True),
    Column("caller", CALLER, nullable=False),
    Column("instances", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("next_at", Double, nullable=False),
    Index("ix_commitments_state_next_at", "state", "next_at"),
)
"""Storage commitments that AE titles requested. ``instances`` is JSON: pairs of SOP class and SOP instance UID. One
that is being reported has its ``next_at`` after that, so that another process takes it over from one that died.
"""

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("caller", CALLER, nullable=False),
    Column("run_key", DIGEST, nullable=False, index=True),
    Column("study_instance_uid", UID, nullable=False, index=True),
    Column("destination", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("leased", Boolean, nullable=False),
    Column("queued_at", Double, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("ended_at", Double, index=True),
    Column("outcome", String(64), nullable=False),
    Index("ix_deliveries_state_next_at", "state", "next_at"),
)
"""Instances on their way to a peer, ``destination``. One that is ``leased`` has its ``next_at`` after that, so that
another process takes it over from one that died. ``run_key`` is that of the run that made them, "" for none.
"""

delivery_instances = Table(
    "delivery_instances",
    metadata,
    Column("delivery", ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True),
    Column("sop_instance_uid", UID, primary_key=True),
    Column("sha256", DIGEST, nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("outcome", String(64), nullable=False),
)
"""The instances of each delivery; they may have left the store once it has ended."""


rounds = Table(
    "rounds",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("caller", CALLER, nullable=False),
    Column("study_instance_uid", UID, nullable=False),
    Column("number", Integer, nullable=False),
    Column("replaces", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("content", DIGEST, nullable=False),
    Column("instances", Integer, nullable=False),
    Column("senders", Text, nullable=False),
    Column("began_at", Double, nullable=False),
    Column("latest_at", Double, nullable=False, index=True),
    Column("ended_at", Double),
    Column("due_at", Double, nullable=False),
    Column("holder", String(32), nullable=False),
    Column("stated", Text, nullable=False),
    Column("verdicts", Text, nullable=False),
    UniqueConstraint("caller", "study_instance_uid", "number", name="uq_rounds_caller"),
    Index("ix_rounds_state_due_at", "state", "due_at"),
)
"""Rounds of a caller's studies: what arrived until the rules took it. ``replaces`` is the number of the round before,
0 for none. ``content`` is a digest of its instances, "" while they arrive, and ``instances`` their number. ``senders``
is JSON: the AE titles that sent it, "" for HTTP. ``ended_at`` is the end of the last association that sent some, absent
while one lasts. A round is looked at from ``due_at`` on, by ``holder`` alone until then. ``stated`` is JSON: numbers of
instances by peer, each with the time of the statement. ``verdicts`` is JSON: a sentence for each rule that has judged.
"""

routings = Table(
    "routings",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("round", ForeignKey("rounds.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("caller", CALLER, nullable=False),
    Column("rule", String(64), nullable=False),
    Column("content", DIGEST, nullable=False),
    Column("digests", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("run", String(64), nullable=False),
    Column("run_key", DIGEST, nullable=False, index=True),
    Column("sentence", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("results", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("due_at", Double, nullable=False),
    Column("holder", String(32), nullable=False),
    UniqueConstraint("caller", "rule", "content", name="uq_routings_caller"),
    Index("ix_routings_state_due_at", "state", "due_at"),
)
"""The handling of rounds by rules; each rule takes the same instances of a caller once. ``caller`` owns the run and its
results, ``content`` is a digest of the instances that the model receives, and ``digests`` is JSON: theirs in order.
``run`` is the id of the run, and ``run_key`` its key, "" before there is one; ``tries`` counts the runs. ``sentence``
says why it was refused or has failed. ``results`` counts the objects that were stored. ``due_at`` and ``holder`` are as
those of rounds.
"""

own_results = Table(
    "own_results",
    metadata,
    Column("digest", DIGEST, primary_key=True),
    Column("made_at", Double, nullable=False),
)
"""The digests of the SOP Instance UIDs of objects that rules have sent out, so that one that returns starts no rule.
They stay when the study is forgotten: a digest leads to no patient.
"""


compute_sessions = Table(
    "compute_sessions",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("caller", CALLER, nullable=False),
    Column("name", String(64), nullable=False),
    Column("route", String(255), nullable=False),
    Column("image", String(255), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("used_at", Double, nullable=False, index=True),
    UniqueConstraint("caller", "name", name="uq_compute_sessions_caller"),
)
"""Sessions of Backend.AI's API, each with a model. Times are seconds since 1970."""

session_files = Table(
    "session_files",
    metadata,
    Column("session", ForeignKey("compute_sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("path", String(1024), primary_key=True),
    Column("location", String(80), nullable=False, index=True),
    Column("sha256", DIGEST, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("stored_at", Double, nullable=False),
    Column("study_instance_uid", UID, nullable=False, index=True),
)
"""Files that were uploaded to sessions. The study is "" for a file that is not DICOM."""

session_executions = Table(
    "session_executions",
    metadata,
    Column("session", ForeignKey("compute_sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("stage", String(16), nullable=False),
    Column("options", Text, nullable=False),
    Column("run", String(64), nullable=False),
    Column("after", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("number", Integer, nullable=False),
)
"""Executions in sessions, the last ones of each: ``run`` is the id of the run, "" before there is one, ``after`` the
sequence number of the last event that the client has seen.
"""

request_signatures = Table(
    "request_signatures",
    metadata,
    Column("digest", DIGEST, primary_key=True),
    Column("until", Double, nullable=False, index=True),
)
"""Signatures of requests that changed something, so that none is used twice, while their dates are accepted."""

caller_rates = Table(
    "caller_rates",
    metadata,
    Column("caller", CALLER, primary_key=True),
    Column("tokens", Double, nullable=False),
    Column("at", Double, nullable=False),
)
"""What is left of the rate of each caller over all hosts: its ``tokens`` at a moment, in seconds since 1970."""

LOCATIONS = {
    "instances": instances.c.location,
    "results": results.c.location,
    "bundles": bundles.c.location,
    "runs": run_records.c.location,
    "sessions": session_files.c.location,
}
"""Where the index says that the bytes of each kind lie."""
