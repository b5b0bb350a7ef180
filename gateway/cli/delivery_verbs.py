"""``deliveries``: the operator's view of results on their way to peers, on the machine of the gateway."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway.cli.queue_verbs import add_queue, list_queue, moment, retry_queue
from gateway.cli.store_index import opened_index

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.cli.terminal import Terminal
    from gateway.studies.delivery_rows import Delivery, DeliveryState

PROGRAM = "python -m gateway"
EPILOG = f"""\
examples:
  {PROGRAM} deliveries list                            dead deliveries, which are not tried any more
  {PROGRAM} deliveries list --state pending --to pacs --json
  {PROGRAM} deliveries show dlv_5f0c...                what became of each instance
  {PROGRAM} deliveries retry dlv_5f0c...               try again, as often as the first time
  {PROGRAM} deliveries retry --all

It reads the store of GATEWAY_STORE_FOLDER and GATEWAY_DATABASE_URL; a running gateway notices within seconds.
exit status: 0 done, 1 failed, 2 wrong usage
"""
COLUMNS = ("id", "state", "tries", "outcome", "destination", "caller", "run", "queued", "next", "ended")
INSTANCE_COLUMNS = ("instance", "state", "outcome")


def add_arguments(verb: argparse.ArgumentParser, _environ: Mapping[str, str]) -> None:
    """Add the arguments of ``deliveries``."""
    verb.set_defaults(json=False)
    actions = verb.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = add_queue(actions, "deliveries")
    listing.add_argument("--to", default="", metavar="PEER", help="to this destination (all)")
    show = actions.add_parser("show", help="show a delivery and its instances", allow_abbrev=False)
    show.add_argument("id", metavar="ID", help="as list prints it")
    show.add_argument("--json", action="store_true", help="print JSON, for a script")


def run(arguments: argparse.Namespace, screen: "Terminal") -> None:
    """Run the action. Raises ValueError with a sentence, OSError, GatewayError."""
    ACTIONS[arguments.action](arguments, screen)


def _list(arguments: argparse.Namespace, screen: "Terminal") -> None:
    from gateway.studies import delivery_rows

    def listed(connection: "Connection", state: "DeliveryState | None", limit: int) -> list[dict[str, Any]]:
        return [_words(each) for each in delivery_rows.listed(connection, state, limit, arguments.to)]

    list_queue(arguments, screen, COLUMNS, listed)


def _words(delivery: "Delivery") -> dict[str, Any]:
    return {
        "id": delivery.id,
        "state": delivery.state.value,
        "tries": delivery.tries,
        "outcome": delivery.outcome,
        "destination": delivery.destination,
        "caller": delivery.caller,
        "run": delivery.run_key,
        "queued": moment(delivery.queued_at),
        "next": "" if delivery.ended_at else moment(delivery.next_at),
        "ended": moment(delivery.ended_at),
    }


def _show(arguments: argparse.Namespace, screen: "Terminal") -> None:
    from gateway.studies import delivery_rows

    with opened_index(arguments.verb) as index, index.reading() as connection:
        delivery = delivery_rows.get(connection, arguments.id)
        instances = delivery_rows.instances_of(connection, arguments.id)
    if delivery is None:
        raise ValueError("the index has no delivery of this id; `deliveries list --state any` has them.")
    words = _words(delivery) | {"study": delivery.study_instance_uid}
    found = [
        {"instance": each.sop_instance_uid, "sha256": each.sha256, "state": each.state.value, "outcome": each.outcome}
        for each in instances
    ]
    if arguments.json:
        screen.tell(words | {"instances": found})
        return
    for name, value in words.items():
        screen.say(f"{name:12} {value}".rstrip())
    screen.table(INSTANCE_COLUMNS, ([each[name] for name in INSTANCE_COLUMNS] for each in found))


def _retry(arguments: argparse.Namespace, screen: "Terminal") -> None:
    from gateway.studies import delivery_rows

    retry_queue(arguments, screen, ("delivery", "deliveries"), delivery_rows.revive)


ACTIONS = {"list": _list, "show": _show, "retry": _retry}
