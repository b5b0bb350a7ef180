"""Eviction: which studies, results, ended runs and files of sessions leave a full store.

Each caller has a share of the quota. A caller above its share makes room for itself first. Studies of others go only
where they are above theirs, so that no caller pushes another below its share. A study of which something waits for
its delivery to a peer stays, and so does one that waits for a rule.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, func, literal, select

from gateway.studies import delivery_rows, round_rows, routing_rows
from gateway.studies.instance_rows import AT_ONCE
from gateway.studies.tables import compute_sessions, holdings, results, run_records, runs, session_files
from gateway.studies.tables import instances as instances_table

CANDIDATES = 256
"""Of the least recently used, looked at together."""
STUDY, RESULT, RUN, SESSION = "study", "result", "run", "session"

_HELD = holdings.c.sha256 == instances_table.c.sha256
_RECORDED = run_records.c.key == runs.c.key
_UPLOADED = session_files.c.session == compute_sessions.c.id


@dataclass(frozen=True, order=True)
class Candidate:
    """A study of one caller, a result, an ended run, or the files of a session.

    ``used_at`` is its last use in seconds since 1970, ``size`` the caller's bytes in it.
    """

    used_at: float
    kind: str
    name: str
    caller: str
    location: str
    size: int


Remove = Callable[[Candidate], int | None]
"""Removes a candidate, and returns the bytes that this freed; None where it stays."""


class Eviction:
    """One search for room, while the index is locked for writing."""

    def __init__(self, connection: Connection, caller: str, needed: int, quota: int, share: int) -> None:
        """``caller`` is about to add ``needed`` bytes; ``share`` is that of each caller at most."""
        self._connection, self._caller = connection, caller
        self._usage = _usage(connection)
        self._usage[caller] = self._usage.get(caller, 0) + needed
        self._share = min(share, quota // len(self._usage))  # all shares together fit into the quota
        self._removed = 0

    def evict(self, excess: int, remove: Remove) -> int:
        """Evict until ``excess`` bytes are free, or nothing more may go; returns the bytes that were freed."""
        freed = 0
        for candidate, entitled in self._turns():
            if freed >= excess:
                break
            if (entitled or self._usage[candidate.caller] > self._share) and (size := remove(candidate)) is not None:
                self._usage[candidate.caller] -= candidate.size
                self._removed += 1
                freed += size
        return freed

    def _turns(self) -> Iterator[tuple[Candidate, bool]]:
        """The caller's own while it is above its share, then others' while those are above theirs, then its own."""
        above = sorted(
            (used, name) for name, used in self._usage.items() if used > self._share and name != self._caller
        )
        others = [name for _, name in above[-AT_ONCE:]]
        for names, entitled in (([self._caller], False), (others, False), ([self._caller], True)):
            for candidate in self._oldest(names):
                yield candidate, entitled

    def _oldest(self, callers: list[str]) -> Iterator[Candidate]:
        """The studies, results, ended runs and sessions of callers, the least recently used first.

        Some are removed meanwhile.
        """
        skip = dict.fromkeys((STUDY, RESULT, RUN, SESSION), 0)
        while page := _page(self._connection, callers, skip):
            for candidate in page:
                before = self._removed
                yield candidate
                skip[candidate.kind] += self._removed == before


def _usage(connection: Connection) -> dict[str, int]:
    """Return the bytes of each caller; bytes that two callers have sent count for both."""
    usage: dict[str, int] = {}
    queries = (
        select(holdings.c.caller, func.sum(instances_table.c.size)).join(instances_table, _HELD),
        select(results.c.caller, func.sum(results.c.size)),
        select(runs.c.caller, func.sum(run_records.c.size)).join(run_records, _RECORDED),
        select(compute_sessions.c.caller, func.sum(session_files.c.size)).join(session_files, _UPLOADED),
    )
    columns = holdings.c.caller, results.c.caller, runs.c.caller, compute_sessions.c.caller
    for query, column in zip(queries, columns, strict=True):
        for caller, size in connection.execute(query.group_by(column)):
            usage[caller] = usage.get(caller, 0) + int(size)
    return usage


def _page(connection: Connection, callers: list[str], skip: dict[str, int]) -> list[Candidate]:
    """Return the next candidates of each kind behind those to ``skip``, the least recently used first."""
    study, used = instances_table.c.study_instance_uid, func.max(instances_table.c.used_at)
    size = func.sum(instances_table.c.size)
    studies = (
        select(used, study, holdings.c.caller, literal(""), size)
        .join(holdings, _HELD)
        .where(holdings.c.caller.in_(callers))
        .where(
            ~delivery_rows.study_awaits(holdings.c.caller, study), ~round_rows.study_awaits(holdings.c.caller, study)
        )
        .group_by(holdings.c.caller, study)
        .order_by(used, study, holdings.c.caller)
    )
    columns = results.c.used_at, results.c.id, results.c.caller, results.c.location, results.c.size
    answers = select(*columns).where(results.c.caller.in_(callers)).order_by(results.c.used_at, results.c.id)
    ended = (
        select(runs.c.ended_at, runs.c.key, runs.c.caller, literal(""), func.sum(run_records.c.size))
        .join(run_records, _RECORDED)
        .where(runs.c.caller.in_(callers), runs.c.ended_at.is_not(None), ~routing_rows.run_awaits(runs.c.key))
        .group_by(runs.c.key)
        .order_by(runs.c.ended_at, runs.c.key)
    )
    session = compute_sessions.c.id
    sessions = (
        select(
            *(compute_sessions.c.used_at, session, compute_sessions.c.caller, literal("")),
            func.sum(session_files.c.size),
        )
        .join(session_files, _UPLOADED)
        .where(compute_sessions.c.caller.in_(callers))
        .group_by(session)
        .order_by(compute_sessions.c.used_at, session)
    )
    page = [
        Candidate(used_at, kind, name, caller, location, int(size))
        for kind, query in ((STUDY, studies), (RESULT, answers), (RUN, ended), (SESSION, sessions))
        for used_at, name, caller, location, size in connection.execute(query.limit(CANDIDATES).offset(skip[kind]))
    ]
    return sorted(page)[:CANDIDATES]
