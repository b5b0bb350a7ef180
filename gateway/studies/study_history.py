"""What the index knows of the way of studies, for operators: what arrived, what rules did, and where results went.

A round is in one stage, the first of these that holds::

    attention   a rule has failed, or a delivery is dead: a person decides
    working     a rule runs its model, or a delivery is on its way
    arriving    instances arrive, or are waited for
    untaken     no rule took it
    done        every rule and every delivery has ended
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, case, func, select

from gateway.observe.routing_states import RoutingNumbers
from gateway.studies import arrival_rows, delivery_rows, round_rows, routing_rows
from gateway.studies.arrival_rows import Arrival
from gateway.studies.delivery_rows import Delivery, DeliveryState
from gateway.studies.instance_rows import pieces
from gateway.studies.round_rows import Round, RoundState
from gateway.studies.routing_rows import LIVE_ROUTINGS, Routing, RoutingState
from gateway.studies.store import Store
from gateway.studies.tables import deliveries, rounds, routings


class Stage(StrEnum):
    """Where a round is on its way."""

    ATTENTION = "attention"
    WORKING = "working"
    ARRIVING = "arriving"
    UNTAKEN = "untaken"
    DONE = "done"


@dataclass(frozen=True, kw_only=True)
class RoundHistory:
    """A round, where it is, and the deliveries of each of its runs by the run's key."""

    round: Round
    stage: Stage
    deliveries: dict[str, list[Delivery]]

    @property
    def all_deliveries(self) -> list[Delivery]:
        """Return the deliveries of all runs."""
        return [delivery for some in self.deliveries.values() for delivery in some]

    @property
    def repeatable(self) -> list[Routing]:
        """Return the routings that a person may have tried again."""
        return [routing for routing in self.round.routings if routing.state in routing_rows.REPEATABLE]


@dataclass(frozen=True, kw_only=True)
class StudyHistory:
    """A caller's study: its rounds, the first first, the associations that sent it, and deliveries of no round."""

    study_instance_uid: str
    caller: str
    rounds: tuple[RoundHistory, ...]
    arrivals: tuple[Arrival, ...]
    other_deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, kw_only=True)
class Retried:
    """What is tried again: numbers of rules' handlings and of deliveries."""

    routings: int
    deliveries: int


def _has(table_state: ColumnElement[str], *states: StrEnum) -> ColumnElement[bool]:
    return table_state.in_([*map(str, states)])


_MINE = routings.c.round == rounds.c.id
_SENT = _MINE & (routings.c.run_key != "") & (deliveries.c.run_key == routings.c.run_key)
_ROUTED = select(routings.c.id).where(_MINE).exists()
_FAILED = select(routings.c.id).where(_MINE, _has(routings.c.state, RoutingState.FAILED)).exists()
_LIVE = select(routings.c.id).where(_MINE, _has(routings.c.state, *LIVE_ROUTINGS)).exists()
_DEAD = select(deliveries.c.id).where(_SENT, _has(deliveries.c.state, DeliveryState.DEAD)).exists()
_PENDING = select(deliveries.c.id).where(_SENT, _has(deliveries.c.state, DeliveryState.PENDING)).exists()
_STAGE = case(
    (_FAILED | _DEAD, Stage.ATTENTION.value),
    (_LIVE | _PENDING, Stage.WORKING.value),
    (_has(rounds.c.state, RoundState.ARRIVING), Stage.ARRIVING.value),
    (~_ROUTED, Stage.UNTAKEN.value),
    else_=Stage.DONE.value,
)


def recent(
    connection: Connection, limit: int, *, stage: Stage | None = None, before: float | None = None
) -> list[RoundHistory]:
    """Return rounds of all callers, the latest first: of a stage or of any, and older than ``before``."""
    conditions: list[ColumnElement[bool]] = [] if stage is None else [_STAGE.in_([stage.value])]
    conditions += [] if before is None else [rounds.c.latest_at < before]
    return _histories(connection, round_rows.listed(connection, limit, *conditions))


def stage_numbers(connection: Connection) -> dict[Stage, int]:
    """Count the rounds of each stage."""
    stages = select(_STAGE.label("stage")).subquery()
    query = select(stages.c.stage, func.count()).group_by(stages.c.stage)
    return dict.fromkeys(Stage, 0) | {Stage(stage): int(count) for stage, count in connection.execute(query)}


def numbers_of(store: Store) -> RoutingNumbers:
    """Return the numbers of rounds and routings now, for metrics. Raises Unavailable."""
    with store.index.reading() as connection:
        return numbers(connection, store.clock())


def numbers(connection: Connection, now: float) -> RoutingNumbers:
    """Return the numbers at a moment."""
    arriving, routed = round_rows.counts(connection), routing_rows.counts(connection)
    return RoutingNumbers(
        rounds=arriving.states,
        oldest_round=_age(arriving.oldest, now),
        latest_arrival=None if arriving.latest is None else _age(arriving.latest, now),
        routings=routed.states,
        oldest_routing=_age(routed.oldest, now),
    )


def _age(moment: float | None, now: float) -> float:
    return 0.0 if moment is None else max(0.0, now - moment)


def of_study(connection: Connection, study: str) -> list[StudyHistory]:
    """Return a study as each caller has it, by the callers' names; none where the index has no round of it."""
    found = _histories(connection, round_rows.of_study(connection, study))
    known = {delivery.id for each in found for delivery in each.all_deliveries}
    others = [each for each in delivery_rows.of_study(connection, None, study) if each.id not in known]
    owners = list(dict.fromkeys(each.round.caller for each in found))
    return [
        StudyHistory(
            study_instance_uid=study,
            caller=caller,
            rounds=tuple(each for each in found if each.round.caller == caller),
            arrivals=tuple(arrival_rows.of_study(connection, caller, study)),
            other_deliveries=tuple(each for each in others if each.caller == caller or each.caller not in owners),
        )
        for caller in owners
    ]


def retry(
    connection: Connection, now: float, *, routing_ids: Collection[str] = (), delivery_ids: Collection[str] = ()
) -> Retried:
    """Try again: routings that have failed, or were refused or cancelled, and dead deliveries, with these ids."""
    return Retried(
        routings=routing_rows.retry(connection, routing_ids, now) if routing_ids else 0,
        deliveries=delivery_rows.revive(connection, delivery_ids, now) if delivery_ids else 0,
    )


def retry_study(connection: Connection, study: str, rule: str, now: float) -> Retried:
    """Try again what of a study waits for a person; of one ``rule``, "" for all, also what was refused or cancelled."""
    found = round_rows.of_study(connection, study)
    states = routing_rows.REPEATABLE if rule else (RoutingState.FAILED,)
    chosen = [each for round in found for each in round.routings if rule in ("", each.rule)]
    sent = [each for each in delivery_rows.of_study(connection, None, study) if each.state is DeliveryState.DEAD]
    keys = {routing.run_key for routing in chosen}
    return retry(
        connection,
        now,
        routing_ids=[routing.id for routing in chosen if routing.state in states],
        delivery_ids=[delivery.id for delivery in sent if not rule or delivery.run_key in keys],
    )


def retry_all(connection: Connection, now: float) -> Retried:
    """Try again all that waits for a person."""
    return Retried(
        routings=routing_rows.retry(connection, None, now), deliveries=delivery_rows.revive(connection, None, now)
    )


def _histories(connection: Connection, found: Sequence[Round]) -> list[RoundHistory]:
    stages = _stages(connection, [round.id for round in found])
    keys = {routing.run_key for round in found for routing in round.routings if routing.run_key}
    sent: dict[str, list[Delivery]] = {}
    for delivery in delivery_rows.of_runs(connection, keys):
        sent.setdefault(delivery.run_key, []).append(delivery)
    return [
        RoundHistory(
            round=round,
            stage=stages[round.id],
            deliveries={each.run_key: sent[each.run_key] for each in round.routings if each.run_key in sent},
        )
        for round in found
    ]


def _stages(connection: Connection, ids: Iterable[str]) -> dict[str, Stage]:
    query = select(rounds.c.id, _STAGE)
    chunks = (connection.execute(query.where(rounds.c.id.in_(some))) for some in pieces(ids))
    return {id: Stage(stage) for rows in chunks for id, stage in rows}
