"""When a study is complete: at the first of its rule's moments, whatever arrives, ends and is stated in which order."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.completing import COUNT_SECONDS, ask_at, complete_at
from gateway.routing.rules import Completeness
from gateway.studies.round_rows import Round, RoundState, Statement

SECONDS = st.floats(0, 10_000)
NAMED = Completeness(quiet_seconds=60, ceiling_seconds=3600, count_from="pacs")


def arriving(latest_at: float, *, ended_at: float | None = None, stated: Statement | None = None) -> Round:
    """A round that began at 0."""
    return Round(
        id="0" * 32,
        caller="ct1",
        study_instance_uid="1.2.3",
        number=1,
        replaces=0,
        state=RoundState.ARRIVING,
        content="",
        instances=0,
        senders=("CT1",),
        began_at=0.0,
        latest_at=latest_at,
        ended_at=ended_at,
        due_at=0.0,
        stated={"pacs": stated} if stated else {},
        verdicts={},
    )


@given(SECONDS, SECONDS, st.floats(1, 5_000), st.floats(0, 5_000), st.booleans())
def test_it_is_complete_at_the_first_of_its_moments(
    latest: float, ended: float, quiet: float, more: float, by_association: bool
) -> None:
    completeness = Completeness(quiet, quiet + more, association_end=by_association)
    found = complete_at(completeness, arriving(latest, ended_at=ended), 1)
    moments = [latest + quiet, quiet + more, *([ended] if by_association else [])]
    assert found in moments
    assert all(found <= moment for moment in moments)


@given(SECONDS, st.floats(0, 100), st.integers(-1, 50), st.integers(1, 50))
def test_a_stated_number_counts_once_it_is_stored_and_nothing_arrived_since(
    at: float, since: float, count: int, stored: int
) -> None:
    statement = Statement(count=count, at=at)
    assert complete_at(NAMED, arriving(at, stated=statement), stored) == (
        at if 0 < count <= stored and at < 3600 else min(at + 60, 3600)
    )
    later = arriving(at + since + 0.001, stated=statement)
    assert complete_at(NAMED, later, stored) == min(later.latest_at + 60, 3600)


def test_a_peer_is_asked_until_as_many_are_stored_as_it_states() -> None:
    stated = Statement(count=3, at=6.0)
    assert ask_at("pacs", arriving(5.0), 3) == 0.0
    assert ask_at("pacs", arriving(5.0, stated=stated), 3) is None
    assert ask_at("pacs", arriving(5.0, stated=stated), 2) == 6.0 + COUNT_SECONDS
    assert ask_at("pacs", arriving(7.0, stated=stated), 3) == 6.0 + COUNT_SECONDS
    assert ask_at("pacs", arriving(5.0, stated=Statement(count=-1, at=6.0)), 3) == 6.0 + COUNT_SECONDS
