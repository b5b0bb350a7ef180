"""``studies``: the operator's view of studies that arrived, of what rules did, and of where results went."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.cli.connection_options import count
from gateway.cli.store_index import opened_index

if TYPE_CHECKING:
    from gateway.cli.terminal import Terminal
    from gateway.studies.delivery_rows import Delivery
    from gateway.studies.routing_rows import Routing
    from gateway.studies.study_history import RoundHistory, StudyHistory

PROGRAM = "python -m gateway"
STAGES = ("attention", "working", "arriving", "untaken", "done")
EPILOG = f"""\
examples:
  {PROGRAM} studies list                           the latest studies, and where each is on its way
  {PROGRAM} studies list --stage attention         those that wait for a person
  {PROGRAM} studies show 1.2.3                     when it came, what rules did, what was said, where it went
  {PROGRAM} studies retry 1.2.3                    try failed rules and dead deliveries again
  {PROGRAM} studies retry 1.2.3 --rule lungs       one rule, also where its model has refused the study
  {PROGRAM} studies retry --all

It reads the store of GATEWAY_STORE_FOLDER and GATEWAY_DATABASE_URL; a running gateway notices within seconds.
The same is shown in a browser at /admin/studies. exit status: 0 done, 1 failed, 2 wrong usage
"""
COLUMNS = ("study", "round", "stage", "instances", "from", "latest", "rules", "deliveries")


def add_arguments(verb: argparse.ArgumentParser, _environ: Mapping[str, str]) -> None:
    """Add the arguments of ``studies``."""
    verb.set_defaults(json=False)
    actions = verb.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list rounds of studies, the latest first", allow_abbrev=False)
    listing.add_argument("--stage", choices=STAGES, help="where they are on their way (all)")
    listing.add_argument("--limit", type=count, default=50, metavar="N", help="the last N (%(default)s)")
    show = actions.add_parser("show", help="show all that is known of a study", allow_abbrev=False)
    show.add_argument("study", metavar="UID", help="its Study Instance UID")
    for action in (listing, show):
        action.add_argument("--json", action="store_true", help="print JSON, for a script")
    retry = actions.add_parser("retry", help="try again what waits for a person", allow_abbrev=False)
    retry.add_argument("study", metavar="UID", nargs="?", default="", help="of this study")
    retry.add_argument("--rule", default="", metavar="NAME", help="of this rule, also what was refused or cancelled")
    retry.add_argument("--all", action="store_true", help="of all studies")


def run(arguments: argparse.Namespace, screen: "Terminal") -> str:
    """Run the action; return why it failed, "" if it did not.

    Raises ValueError with a sentence, OSError, GatewayError.
    """
    return ACTIONS[arguments.action](arguments, screen)


def _list(arguments: argparse.Namespace, screen: "Terminal") -> str:
    from gateway.studies import study_history
    from gateway.studies.study_history import Stage

    stage = Stage(arguments.stage) if arguments.stage else None
    with opened_index("studies") as index, index.reading() as connection:
        found = study_history.recent(connection, arguments.limit, stage=stage)
    if arguments.json:
        screen.tell([words_of(each) for each in found])
    else:
        screen.table(COLUMNS, map(_row, found))
    return ""


def _row(found: "RoundHistory") -> list[str]:
    rules = ", ".join(f"{routing.rule} {routing.state}" for routing in found.round.routings)
    sent = ", ".join(f"{each.destination} {each.state}" for each in found.all_deliveries)
    round, senders = found.round, ", ".join(sender or "HTTP" for sender in found.round.senders)
    texts = (round.number, found.stage, round.instances or "", senders, _moment(round.latest_at), rules, sent)
    return [round.study_instance_uid, *map(str, texts)]


def _show(arguments: argparse.Namespace, screen: "Terminal") -> str:
    from gateway.studies import study_history

    with opened_index("studies") as index, index.reading() as connection:
        found = study_history.of_study(connection, arguments.study)
    if not found:
        return "the index has no such study; `studies list` has the latest"
    for history in found:
        for line in _described(history):
            screen.say(line)
    screen.tell([_study_words(history) for history in found])
    return ""


def _described(history: "StudyHistory") -> Iterator[str]:
    yield f"study    {history.study_instance_uid}"
    yield f"caller   {history.caller or 'anonymous'}"
    for arrival in history.arrivals:
        end = f"until {_moment(arrival.ended_at)}" if arrival.ended_at else f"latest {_moment(arrival.latest_at)}"
        yield f"arrived  {_moment(arrival.began_at)} {end}, {arrival.instances} from {arrival.sender or 'HTTP'}"
    for found in history.rounds:
        yield from _of_round(found)
    for delivery in history.other_deliveries:
        yield _of_delivery(delivery)


def _of_round(found: "RoundHistory") -> Iterator[str]:
    round = found.round
    replaces = f", replaces round {round.replaces}" if round.replaces else ""
    number = f"{round.instances} instances" if round.instances else "not counted yet"
    yield f"round    {round.number}{replaces}: {found.stage}, {number}, since {_moment(round.began_at)}"
    routed = {routing.rule for routing in round.routings}
    for rule, reason in round.verdicts.items():
        if reason and rule not in routed:
            yield f"  rule   {rule} did not take it: {reason}"
    for routing in round.routings:
        yield f"  rule   {routing.rule} {routing.state}{_of_routing(routing)}"
        for delivery in found.deliveries.get(routing.run_key, ()):
            yield f"  {_of_delivery(delivery)}"


def _of_routing(routing: "Routing") -> str:
    parts = [f"run {routing.run}"] if routing.run else []
    parts += [f"try {routing.tries}"] if routing.tries > 1 else []
    parts += [_number(routing.results, "object")] if routing.results else []
    said = f": {routing.sentence}" if routing.sentence else ""
    return "".join(f", {part}" for part in parts) + said


def _of_delivery(delivery: "Delivery") -> str:
    from gateway.delivery.outcome_words import in_words

    tries = _number(delivery.tries, "try", "tries")
    ended = f", {_moment(delivery.ended_at)}" if delivery.ended_at else ""
    said = f": {in_words(delivery.outcome)}" if delivery.outcome and delivery.state != "delivered" else ""
    return f"  sent {delivery.destination} {delivery.state}, {tries}{ended}, {delivery.id}{said}"


def _retry(arguments: argparse.Namespace, screen: "Terminal") -> str:
    from gateway.studies import study_history

    if bool(arguments.study) == arguments.all:
        raise ValueError("studies retry needs the UID of a study, or --all.")
    if arguments.rule and arguments.all:
        raise ValueError("studies retry --rule needs the UID of a study.")
    with opened_index("studies") as index, index.writing() as connection:
        if arguments.all:
            done = study_history.retry_all(connection, index.now())
        else:
            done = study_history.retry_study(connection, arguments.study, arguments.rule, index.now())
    if not done.routings and not done.deliveries:
        return "nothing of it waits for a person"
    screen.say(f"retry    {_number(done.routings, 'rule')}, {_number(done.deliveries, 'delivery', 'deliveries')}")
    return ""


def _number(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"


def words_of(found: "RoundHistory") -> dict[str, Any]:
    """Return a round as JSON."""
    round = found.round
    return {
        "study_instance_uid": round.study_instance_uid,
        "caller": round.caller,
        "round": round.number,
        "replaces": round.replaces or None,
        "stage": found.stage.value,
        "senders": list(round.senders),
        "instances": round.instances,
        "began": _moment(round.began_at),
        "latest": _moment(round.latest_at),
        "not_taken": {rule: reason for rule, reason in round.verdicts.items() if reason},
        "rules": [_routing_words(routing, found.deliveries.get(routing.run_key, ())) for routing in round.routings],
    }


def _routing_words(routing: "Routing", sent: "Sequence[Delivery]") -> dict[str, Any]:
    return {
        "rule": routing.rule,
        "state": routing.state.value,
        "run": routing.run or None,
        "caller": routing.caller,
        "sentence": routing.sentence,
        "tries": routing.tries,
        "objects": routing.results,
        "ended": _moment(routing.ended_at) or None,
        "deliveries": [_delivery_words(delivery) for delivery in sent],
    }


def _delivery_words(delivery: "Delivery") -> dict[str, Any]:
    return {
        "id": delivery.id,
        "destination": delivery.destination,
        "state": delivery.state.value,
        "tries": delivery.tries,
        "outcome": delivery.outcome,
        "ended": _moment(delivery.ended_at) or None,
    }


def _study_words(history: "StudyHistory") -> dict[str, Any]:
    return {
        "study_instance_uid": history.study_instance_uid,
        "caller": history.caller,
        "arrivals": [
            {
                "sender": arrival.sender,
                "began": _moment(arrival.began_at),
                "latest": _moment(arrival.latest_at),
                "ended": _moment(arrival.ended_at) or None,
                "instances": arrival.instances,
            }
            for arrival in history.arrivals
        ],
        "rounds": [words_of(found) for found in history.rounds],
        "other_deliveries": [_delivery_words(delivery) for delivery in history.other_deliveries],
    }


def _moment(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")[:-6] + "Z"


ACTIONS: dict[str, Callable[[argparse.Namespace, "Terminal"], str]] = {"list": _list, "show": _show, "retry": _retry}
