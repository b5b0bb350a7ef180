"""``key-pairs``: callers who sign their requests. A secret key is shown once, when it is made; the file has it too."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from gateway.access.callers import ANY, Caller, Role
from gateway.cli.keys import read_expiry, read_roles, read_routes

VARIABLE = "GATEWAY_BACKENDAI_KEYS"
EPILOG = f"""\
examples:
  python -m gateway key-pairs add alice --roles infer --routes /lungs --expires 365d
  python -m gateway key-pairs list
  python -m gateway key-pairs revoke AKIAIOSFODNN7EXAMPLE

The file is that of --file, else of {VARIABLE}. A running server reads it again when it changes.
It has the secret keys themselves, which signatures are checked with: its mode is 0600.
"""


def add_arguments(verb: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Add the arguments of ``key-pairs``; ``environ`` may name the file."""
    verb.set_defaults(file=environ.get(VARIABLE, ""))
    actions = verb.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = _action(actions, "add", "add a key pair of a caller, and print both keys")
    add.add_argument("name", metavar="NAME", help="the caller: letters, digits, dots, dashes and underscores")
    add.add_argument("--roles", type=read_roles, default="infer", help=f"{','.join(get_args(Role))}, or none (infer)")
    add.add_argument("--routes", type=read_routes, default=ANY, help="routes that it may use, comma-separated (all)")
    add.add_argument("--expires", type=read_expiry, metavar="WHEN", help="a date, 2027-01-31, or an age, 365d (never)")
    _action(actions, "list", "list key pairs, without their secret keys")
    revoke = _action(actions, "revoke", "revoke a key pair")
    revoke.add_argument("access_key", metavar="ACCESS_KEY", help="its access key, as `key-pairs list` shows it")


def _action(actions: Any, name: str, summary: str) -> argparse.ArgumentParser:
    action: argparse.ArgumentParser = actions.add_parser(name, help=summary, allow_abbrev=False)
    action.add_argument("--file", default=argparse.SUPPRESS, metavar="FILE", help=f"file of key pairs (${VARIABLE})")
    return action


def run(arguments: argparse.Namespace) -> None:
    """Run the verb. Raises ValueError with a sentence for the user, OSError where the file cannot be written."""
    if not arguments.file:
        raise ValueError(f"key-pairs needs a file: --file FILE, or {VARIABLE}.")
    ACTIONS[arguments.action](arguments, Path(arguments.file))


def _add(arguments: argparse.Namespace, path: Path) -> None:
    from gateway.access.callers_file import NAME
    from gateway.access.key_pairs import KeyPair, change

    if not NAME.fullmatch(arguments.name):
        raise ValueError("A caller's name has up to 64 letters, digits, dots, dashes and underscores.")
    pair = KeyPair.new(Caller(arguments.name, arguments.roles, arguments.routes), arguments.expires)
    change(path, lambda pairs: [*pairs, pair])
    sys.stdout.write(f"{pair.access_key}\n{pair.secret_key}\n")
    sys.stderr.write("access key and secret key: BACKEND_ACCESS_KEY and BACKEND_SECRET_KEY of the client\n")


def _list(_arguments: argparse.Namespace, path: Path) -> None:
    from gateway.access.key_pairs import KeyPair, parse

    def line(pair: KeyPair) -> str:
        until = "" if pair.expires is None else f"{'expired' if pair.expired else 'until'} {pair.expires:%Y-%m-%d}"
        roles = ",".join(sorted(pair.caller.roles)) or "none"
        return f"{pair.access_key}  {pair.caller.name}  {roles}  {','.join(pair.caller.routes)}  {until}".rstrip()

    sys.stdout.writelines(f"{line(pair)}\n" for pair in parse(path.read_bytes()))


def _revoke(arguments: argparse.Namespace, path: Path) -> None:
    from gateway.access.key_pairs import KeyPair, change

    def remove(pairs: tuple[KeyPair, ...]) -> Sequence[KeyPair]:
        remaining = [pair for pair in pairs if pair.access_key != arguments.access_key]
        if len(remaining) == len(pairs):
            raise ValueError(f"There is no key pair {arguments.access_key}.")
        return remaining

    change(path, remove)


ACTIONS = {"add": _add, "list": _list, "revoke": _revoke}
