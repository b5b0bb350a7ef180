"""What the verbs of the two queues, ``webhooks`` and ``deliveries``, share: to list, and to try the dead ones again."""

import argparse
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.cli.connection_options import count
from gateway.cli.store_index import opened_index

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.cli.terminal import Terminal
    from gateway.studies.delivery_rows import DeliveryState

Listed = Callable[["Connection", "DeliveryState | None", int], Sequence[dict[str, Any]]]
Revive = Callable[["Connection", Collection[str] | None, float], int]


def add_queue(actions: Any, nouns: str) -> argparse.ArgumentParser:
    """Add ``list`` and ``retry`` to the actions of a verb; return the parser of the first."""
    listing: argparse.ArgumentParser = actions.add_parser(
        "list", help=f"list {nouns}, the last ones first", allow_abbrev=False
    )
    listing.add_argument(
        "--state", choices=("pending", "delivered", "dead", "any"), default="dead", help="(%(default)s)"
    )
    listing.add_argument("--limit", type=count, default=100, metavar="N", help="the last N (%(default)s)")
    listing.add_argument("--json", action="store_true", help="print JSON, for a script")
    retry = actions.add_parser("retry", help=f"try dead {nouns} again", allow_abbrev=False)
    retry.add_argument("ids", metavar="ID", nargs="*", help=f"of {nouns}, as list prints them")
    retry.add_argument("--all", action="store_true", help="all dead ones")
    return listing


def list_queue(arguments: argparse.Namespace, screen: "Terminal", columns: Sequence[str], listed: Listed) -> None:
    """Print what ``listed`` returns. Raises ValueError with a sentence, GatewayError."""
    from gateway.studies.delivery_rows import DeliveryState

    state = None if arguments.state == "any" else DeliveryState(arguments.state)
    with opened_index(arguments.verb) as index, index.reading() as connection:
        found = listed(connection, state, arguments.limit)
    if arguments.json:
        screen.tell(list(found))
    else:
        screen.table(columns, ([str(words[name]) for name in columns] for words in found))


def retry_queue(arguments: argparse.Namespace, screen: "Terminal", nouns: tuple[str, str], revive: Revive) -> None:
    """Try dead ones again; ``nouns`` are those of one and of several.

    Raises ValueError with a sentence, GatewayError.
    """
    one, several = nouns
    if bool(arguments.ids) == arguments.all:
        raise ValueError(f"{arguments.verb} retry needs ids of {several}, or --all.")
    ids = None if arguments.all else set(arguments.ids)
    with opened_index(arguments.verb) as index, index.writing() as connection:
        revived = revive(connection, ids, index.now())
    if ids is not None and revived < len(ids):
        raise ValueError(f"{len(ids) - revived} of these ids are not of dead {several}.")
    screen.say(f"retry   {revived} {one if revived == 1 else several}")


def moment(seconds: float | None) -> str:
    """Return a time in ISO 8601; "" for none."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
