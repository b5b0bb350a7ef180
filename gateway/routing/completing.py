"""When a study is complete for a rule: pure, with times passed in, in seconds since 1970."""

from collections.abc import Iterable

from gateway.routing.rules import Completeness
from gateway.studies.round_rows import Round

COUNT_SECONDS = 5.0
"""Seconds between two questions to a peer for the number of a study's instances, while these arrive."""


def complete_at(completeness: Completeness, arriving: Round, stored: int) -> float:
    """Return when a round is complete, which is past where it is, if nothing else arrives or is stated before.

    ``stored`` is the number of instances of the study.
    """
    quiet, ceiling = completeness.quiet_seconds, completeness.ceiling_seconds
    moments = [arriving.latest_at + quiet, arriving.began_at + ceiling]
    if completeness.association_end and arriving.ended_at is not None:
        moments.append(arriving.ended_at)
    statement = arriving.stated.get(completeness.count_from)
    if statement is not None and statement.at >= arriving.latest_at and 0 < statement.count <= stored:
        moments.append(statement.at)
    return min(moments)


def ask_at(peer: str, arriving: Round, stored: int) -> float | None:
    """Return when to ask a peer for the number of instances; None where as many as it states are stored.

    A peer that receives the study itself may state too few: what it stated before the latest instance does not count.
    """
    statement = arriving.stated.get(peer)
    if statement is None:
        return arriving.began_at
    if statement.at >= arriving.latest_at and 0 < statement.count <= stored:
        return None
    return statement.at + COUNT_SECONDS


def peers_asked(all_of: Iterable[Completeness]) -> list[str]:
    """Return the peers that state numbers of instances, each once."""
    return list(dict.fromkeys(one.count_from for one in all_of if one.count_from))
