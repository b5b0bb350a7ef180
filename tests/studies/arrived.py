"""Studies at each stage of their way, as the rows of an index have them."""

import json
from collections.abc import Sequence

from sqlalchemy import Connection

from gateway.studies import arrival_rows, delivery_rows, round_rows, routing_rows
from gateway.studies.arrival_rows import Sender
from gateway.studies.delivery_rows import DeliveryState
from gateway.studies.round_rows import RoundState
from gateway.studies.routing_rows import RoutingState
from tests.dicom.studies import uid

NOT_TAKEN = "None of 2 series has Modality 'MR'."
REFUSED = "The model on /lungs takes slices of at most 5 mm; these have 10 mm."


def study(name: object) -> str:
    """The UID of a study."""
    return str(uid("study", name))


def arrive(connection: Connection, name: object, now: float, *, caller: str = "ct1", title: str = "CT1") -> str:
    """A round that begins; its id."""
    sender = Sender(f"{name}{caller}".encode().hex()[:32], title, caller)
    arrival_rows.count(connection, sender, study(name), 140, now)
    round_rows.arrived(connection, sender, study(name), new=True, now=now)
    return round_rows.of_study(connection, study(name), caller)[-1].id


def route(
    connection: Connection,
    round: str,
    now: float,
    state: RoutingState,
    *,
    rule: str = "lungs",
    sentence: str = "",
    sent: Sequence[tuple[str, DeliveryState]] = (),
) -> None:
    """A round that is complete, a rule's handling of it in a state, and its deliveries."""
    holder, key = "test", f"{round}{rule}".encode().hex()[:64]
    routing_rows.add(connection, round, "ai", rule, [f"{round:0>64}"], now)
    claimed = routing_rows.claim(connection, holder, now, 60.0)
    assert claimed is not None
    ended = None if state in routing_rows.LIVE_ROUTINGS else now + 2
    values = {"run": f"{rule}-{round[:8]}", "run_key": key, "tries": 1, "sentence": sentence, "ended_at": ended}
    results = 1 if state is RoutingState.DONE else 0
    routing_rows.settle(connection, claimed.id, holder, now, state=state.value, results=results, **values)
    taken = round_rows.get(connection, round)
    assert taken is not None
    for number, (destination, end) in enumerate(sent):
        instances = [(str(uid(round, rule, number)), "a" * 64)]
        delivery_rows.queue(
            connection,
            caller="ai",
            destination=destination,
            study=taken.study_instance_uid,
            instances=instances,
            now=now,
            run_key=key,
        )
        if end is not DeliveryState.PENDING:
            delivery = delivery_rows.claim(connection, now, 60.0, [each for each, _ in sent if each != destination])
            assert delivery is not None
            outcome = "refused-0122" if end == "dead" else "stored"
            delivery_rows.record(connection, delivery, {instances[0][0]: (end, outcome)})
            delivery_rows.settle(connection, delivery, outcome, now + 3, None)


def judged(connection: Connection, round: str, **verdicts: str) -> None:
    """A round that rules have judged."""
    round_rows.claim(connection, "test", 1e12, 60.0)
    values = {"state": RoundState.COMPLETE.value, "content": "c" * 64, "instances": 140}
    round_rows.release(connection, round, "test", 0.0, verdicts=json.dumps(verdicts), **values)


def every_stage(connection: Connection, now: float) -> None:
    """One study at each stage, and one that came in two rounds."""
    done = arrive(connection, "done", now - 7200)
    judged(connection, done, lungs="", brain=NOT_TAKEN)
    route(connection, done, now - 7100, RoutingState.DONE, sent=[("pacs", DeliveryState.DELIVERED)])
    dead = arrive(connection, "dead", now - 3600)
    judged(connection, dead, lungs="")
    both = [("pacs", DeliveryState.DELIVERED), ("archive", DeliveryState.DEAD)]
    route(connection, dead, now - 3500, RoutingState.DONE, sent=both)
    failed = arrive(connection, "failed", now - 1800)
    judged(connection, failed, lungs="", nodules="")
    sentence = "The model raised an exception. The gateway's log has it under this request id."
    route(connection, failed, now - 1700, RoutingState.FAILED, sentence=sentence)
    route(connection, failed, now - 1700, RoutingState.REFUSED, rule="nodules", sentence=REFUSED)
    untaken = arrive(connection, "untaken", now - 900)
    judged(connection, untaken, lungs="It takes studies of other senders.", brain=NOT_TAKEN)
    working = arrive(connection, "working", now - 120)
    judged(connection, working, lungs="")
    route(connection, working, now - 60, RoutingState.RUNNING)
    arrive(connection, "arriving", now - 5, title="", caller="viewer")
