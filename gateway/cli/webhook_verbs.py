"""``webhooks``: the operator's view of the webhooks of all callers, on the machine of the gateway."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.queue_verbs import add_queue, list_queue, moment, retry_queue

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.cli.terminal import Terminal
    from gateway.delivery.webhook_rows import Webhook
    from gateway.studies.delivery_rows import DeliveryState

PROGRAM = "python -m gateway"
VARIABLE = "GATEWAY_WEBHOOK_SECRETS_FILE"
EPILOG = f"""\
examples:
  {PROGRAM} webhooks secret https://hooks.example.org     add a secret, and print it for the receiver
  {PROGRAM} webhooks list                                 dead webhooks, which are not tried any more
  {PROGRAM} webhooks list --state pending --json
  {PROGRAM} webhooks retry msg_0f3c...                    try again, as often as the first time
  {PROGRAM} webhooks retry --all

list and retry read the store of GATEWAY_STORE_FOLDER and GATEWAY_DATABASE_URL; a running gateway notices within
seconds. exit status: 0 done, 1 failed, 2 wrong usage
"""
COLUMNS = ("id", "state", "tries", "outcome", "origin", "run", "route", "ended")


def add_arguments(verb: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Add the arguments of ``webhooks``."""
    verb.set_defaults(file=environ.get(VARIABLE, ""), json=False)
    actions = verb.add_subparsers(dest="action", metavar="ACTION", required=True)
    add_queue(actions, "webhooks")
    secret = actions.add_parser("secret", help="add a secret for an origin, and print it", allow_abbrev=False)
    secret.add_argument("origin", metavar="ORIGIN", help="scheme, host and port, such as https://hooks.example.org")
    secret.add_argument("--file", default=argparse.SUPPRESS, metavar="FILE", help=f"file of secrets (${VARIABLE})")


def run(arguments: argparse.Namespace, screen: "Terminal") -> None:
    """Run the action. Raises ValueError with a sentence, OSError, GatewayError."""
    ACTIONS[arguments.action](arguments, screen)


def _list(arguments: argparse.Namespace, screen: "Terminal") -> None:
    from gateway.delivery import webhook_rows

    def listed(connection: "Connection", state: "DeliveryState | None", limit: int) -> list[dict[str, Any]]:
        return [_words(each) for each in webhook_rows.listed(connection, state, limit)]

    list_queue(arguments, screen, COLUMNS, listed)


def _words(webhook: "Webhook") -> dict[str, Any]:
    """Return a webhook without its URL, which may hold a secret of the receiver."""
    words = {name: value for name, value in asdict(webhook).items() if name in COLUMNS}
    return words | {"state": webhook.state.value, "ended": moment(webhook.ended_at)}


def _retry(arguments: argparse.Namespace, screen: "Terminal") -> None:
    from gateway.delivery import webhook_rows

    retry_queue(arguments, screen, ("webhook", "webhooks"), webhook_rows.revive)


def _secret(arguments: argparse.Namespace, _screen: "Terminal") -> None:
    from gateway.delivery.callbacks import allowed_origins
    from gateway.delivery.signatures import new_secret, parse_secrets
    from gateway.spool.disk import make_private_file

    if not arguments.file:
        raise ValueError(f"webhooks secret needs a file: --file FILE, or {VARIABLE}.")
    if len(origins := allowed_origins(arguments.origin)) != 1:
        raise ValueError("webhooks secret needs one origin, such as https://hooks.example.org.")
    (origin,), secret, path = origins, new_secret(), Path(arguments.file)
    make_private_file(path)
    parse_secrets(before := path.read_bytes())
    with path.open("ab") as file:
        file.write((b"" if before.endswith(b"\n") or not before else b"\n") + f"{origin} {secret}\n".encode())
    sys.stdout.write(secret + "\n")
    sys.stderr.write("give this secret to the receiver\n")


ACTIONS = {"list": _list, "retry": _retry, "secret": _secret}
