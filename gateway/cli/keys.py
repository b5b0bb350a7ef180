"""``keys``: callers with access. A key is shown once, when it is made; the file stores its digest."""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

from gateway.access.callers import ANY, Caller, Role, roles

VARIABLE = "GATEWAY_API_KEYS_FILE"
EPILOG = f"""\
examples:
  python -m gateway keys add viewer --roles infer --routes /lungs,/liver --expires 365d
  python -m gateway keys add archive --roles read,write --certificate "CN=archive,O=Hospital"
  python -m gateway keys list
  python -m gateway keys revoke viewer

The file is that of --file, else of {VARIABLE}. A running server reads it again when it changes.
"""


def add_arguments(verb: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Add the arguments of ``keys``; ``environ`` may name the file."""
    verb.set_defaults(file=environ.get(VARIABLE, ""))
    actions = verb.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = _action(actions, "add", "add an API caller, and print its key")
    add.add_argument("--roles", type=read_roles, default="infer", help=f"{','.join(get_args(Role))}, or none (infer)")
    add.add_argument("--routes", type=read_routes, default=ANY, help="routes that it may use, comma-separated (all)")
    add.add_argument("--reads", type=_names, default=(), help="other callers whose studies DICOMweb shows it (none)")
    add.add_argument("--expires", type=read_expiry, metavar="WHEN", help="a date, 2027-01-31, or an age, 365d (never)")
    add.add_argument("--certificate", default="", metavar="SUBJECT", help="subject of its client certificate, RFC 4514")
    _action(actions, "list", "list API callers")
    _action(actions, "revoke", "revoke a caller")


def _action(actions: Any, name: str, summary: str) -> argparse.ArgumentParser:
    action: argparse.ArgumentParser = actions.add_parser(name, help=summary, allow_abbrev=False)
    if name != "list":
        action.add_argument("name", metavar="NAME", help="letters, digits, dots, dashes and underscores")
    action.add_argument("--file", default=argparse.SUPPRESS, metavar="FILE", help=f"file of callers (${VARIABLE})")
    return action


def run(arguments: argparse.Namespace) -> None:
    """Run the verb. Raises ValueError with a sentence for the user, OSError where the file cannot be written."""
    if not arguments.file:
        raise ValueError(f"keys needs a file: --file FILE, or {VARIABLE}.")
    ACTIONS[arguments.action](arguments, Path(arguments.file))


def _add(arguments: argparse.Namespace, path: Path) -> None:
    from gateway.access.api_keys import fingerprint, new_key
    from gateway.access.callers_file import NAME, CallerEntry, change

    if not NAME.fullmatch(arguments.name):
        raise ValueError("A caller's name has up to 64 letters, digits, dots, dashes and underscores.")
    key = "" if arguments.certificate else new_key()
    caller = Caller(arguments.name, arguments.roles, arguments.routes, arguments.reads)
    entry = CallerEntry(caller, fingerprint(key) if key else "", arguments.certificate, arguments.expires)

    def append(entries: tuple[CallerEntry, ...]) -> Sequence[CallerEntry]:
        if any(entry.caller.name == arguments.name for entry in entries):
            raise ValueError(f"A caller {arguments.name} exists; revoke it first, or choose another name.")
        return [*entries, entry]

    change(path, append)
    if key:
        sys.stdout.write(key + "\n")
        sys.stderr.write("this key is shown once and stored nowhere\n")


def _list(_arguments: argparse.Namespace, path: Path) -> None:
    from gateway.access.callers_file import CallerEntry, parse

    def line(entry: CallerEntry) -> str:
        caller = entry.caller
        until = "" if entry.expires is None else f"{'expired' if entry.expired() else 'until'} {entry.expires:%Y-%m-%d}"
        columns = (",".join(sorted(caller.roles)) or "none", ",".join(caller.routes), entry.subject or "key", until)
        return f"{caller.name}  {'  '.join(columns)}".rstrip()

    sys.stdout.writelines(f"{line(entry)}\n" for entry in parse(path.read_bytes()))


def _revoke(arguments: argparse.Namespace, path: Path) -> None:
    from gateway.access.callers_file import CallerEntry, change

    def remove(entries: tuple[CallerEntry, ...]) -> Sequence[CallerEntry]:
        remaining = [entry for entry in entries if entry.caller.name != arguments.name]
        if len(remaining) == len(entries):
            raise ValueError(f"There is no caller {arguments.name}.")
        return remaining

    change(path, remove)


ACTIONS = {"add": _add, "list": _list, "revoke": _revoke}


def read_roles(text: str) -> frozenset[Role]:
    """Read ``--roles``. Raises ArgumentTypeError."""
    names = [] if text == "none" else text.split(",")
    if len(granted := roles(names)) < len(set(names)):
        raise argparse.ArgumentTypeError(f"roles are of {', '.join(get_args(Role))}, or none")
    return granted


def _names(text: str) -> tuple[str, ...]:
    from gateway.access.callers_file import NAME

    names = tuple(text.split(","))
    if not all(map(NAME.fullmatch, names)):
        raise argparse.ArgumentTypeError("the names of callers have letters, digits, dots, dashes and underscores")
    return names


def read_routes(text: str) -> tuple[str, ...]:
    """Read ``--routes``. Raises ArgumentTypeError."""
    paths = tuple(path for path in text.split(",") if path)
    if not all(path == ANY or path.startswith("/") for path in paths):
        raise argparse.ArgumentTypeError("routes begin with a slash")
    return paths


def read_expiry(text: str) -> datetime:
    """Read ``--expires``. Raises ArgumentTypeError."""
    if days := re.fullmatch(r"(\d{1,5})d", text):
        return datetime.now(UTC).replace(microsecond=0) + timedelta(days=int(days[1]))
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a day such as 2027-01-31 nor 365d") from None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    if when <= datetime.now(UTC):
        raise argparse.ArgumentTypeError(f"{text} has passed: the key would be invalid")
    return when
