"""``audit verify``: verify a chain of records; and the arguments of ``replay``."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.observe.audit.canonical import read_key
from gateway.observe.audit.chain import ChainHead, key_path
from gateway.observe.audit.verify import ChainVerdict, verify

if TYPE_CHECKING:  # imports rich, which a server does not need
    from gateway.cli.terminal import Terminal

VARIABLE = "GATEWAY_AUDIT_KEY_FILE"
API_KEY = "GATEWAY_API_KEY"
"""Variable of the API key for ``replay --url``; other users could read a command line."""
EPILOG = f"""\
examples:
  python -m gateway audit verify /var/log/gateway/audit.jsonl
  python -m gateway audit verify audit.jsonl.2 audit.jsonl.1 audit.jsonl
  python -m gateway audit verify audit.jsonl --key audit.key --expect 1042:9f86d0...

The key is that of --key, else of {VARIABLE}, else in the last FILE's name followed by .key.
Store the printed head elsewhere, and pass it to --expect at a later check.
"""

REPLAY_EPILOG = """\
examples:
  python -m gateway send -i study -o answer --receipt receipt.json
  python -m gateway replay receipt.json models.segmentation_3d:segment -i study
  python -m gateway replay receipt.json --url http://127.0.0.1:8900 -i study -R threshold=0.4

The request is that of send with the same options, or has the bytes of --json. DICOM objects contain the time of
receipt: only a TARGET, which runs here, reproduces them.

exit status: 0 the same, 1 different, 2 wrong usage, 3 no connection, 130 interrupted
"""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the arguments of ``audit``."""
    add = verb.add_argument
    add("action", choices=["verify"], help="verify that no record was changed, moved, added or removed")
    add("files", nargs="+", type=Path, metavar="FILE", help="the files of one chain, the oldest first")
    add("--expect", type=_head, metavar="HEAD", help="NUMBER:DIGEST that the chain must contain")
    add("--after", type=_head, metavar="HEAD", help="NUMBER:DIGEST before the first FILE, if earlier ones are gone")
    add("--key", type=Path, metavar="FILE", help=f"key that signed the records (${VARIABLE})")
    add("--json", action="store_true", help="print one JSON document, for a script")


def add_replay(verb: argparse.ArgumentParser) -> None:
    """Add the arguments of ``replay``, except those that it shares with ``send``."""
    add = verb.add_argument
    add("receipt", type=Path, metavar="RECEIPT", help="file of a receipt: JSON, or the value of its header field")
    add("target", nargs="?", default="", metavar="TARGET", help="module:name of a model or an application, run here")
    add("--url", default="", help=f"gateway to use instead of a TARGET; its key is read from {API_KEY}")
    add("-i", "--input", type=Path, dest="study", metavar="STUDY", help="folder of the original study")
    add("--json", type=Path, metavar="FILE", help="the request's JSON, byte for byte")
    add("--key", type=Path, metavar="FILE", help=f"key that signed the receipt (${VARIABLE})")


def run(arguments: argparse.Namespace, screen: "Terminal") -> bool:
    """Print the result and return True if the chain is whole. Raises ValueError with a sentence, OSError."""
    key = find_key(arguments.key, beside=arguments.files[-1])
    for path in arguments.files:
        path.stat()  # report a wrong name before a missing key
    verdict = verify(arguments.files, key=key, expect=arguments.expect, after=arguments.after)
    _show(verdict, screen)
    return verdict.whole


def find_key(named: Path | None, beside: Path | None = None) -> bytes | None:
    """Find the audit's key: by argument, by environment, or ``beside`` an audit file; None where it is absent.

    Raises ValueError for a file without a key, OSError for a named file that cannot be read.
    """
    path = named or (Path(variable) if (variable := os.environ.get(VARIABLE)) else None)
    if path is None and beside is not None and key_path(beside).exists():
        path = key_path(beside)
    return read_key(path) if path else None


def _show(verdict: ChainVerdict, screen: "Terminal") -> None:
    screen.say(f"records {verdict.records}")
    if verdict.head:
        screen.say(f"head    {verdict.head}")
    for note in verdict.notes:
        screen.say(f"note    {note}")
    for fault in verdict.faults:
        screen.say(f"fault   {fault}")
    screen.say(f"verdict {'whole' if verdict.whole else 'BROKEN'}")
    document = {"whole": verdict.whole, "records": verdict.records, "head": str(verdict.head) if verdict.head else None}
    screen.tell(document | {"notes": list(verdict.notes), "faults": list(map(str, verdict.faults))})


def _head(text: str) -> ChainHead:
    try:
        return ChainHead.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
