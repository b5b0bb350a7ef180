"""``python -m benchmarks``: measure, print the table as Markdown, write it and a JSON file beside it."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks import machine, peers, table
from benchmarks.results import QUICK, Line, Plan
from benchmarks.rows import ROWS

RESULTS = Path(__file__).resolve().parent / "results"
logger = logging.getLogger("benchmarks")


def main() -> int:
    """Return exit status 0 when every measured line met its bound, else 1."""
    arguments = _parse()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the servers are stopped too
    if arguments.without_sha_instructions and not machine.masked():
        _again({machine.CAPABILITIES: machine.MASK})
    plan = QUICK if arguments.quick else Plan()
    plan = replace(plan, mixed_minutes=arguments.minutes or plan.mixed_minutes)
    described = machine.describe()
    lines = peers.compare(plan) if arguments.peers else _measure(arguments.rows or ROWS, plan)
    table.write(lines, described, arguments.out, _name(arguments))
    sys.stdout.write(table.markdown(lines, described))
    return int(any(line.met is False for line in lines))


def _measure(names: Iterable[str], plan: Plan) -> list[Line]:
    lines = []
    for name in names:
        logger.info("row %s", name)
        lines += ROWS[name](plan)
    return lines


def _again(environment: dict[str, str]) -> None:
    """Start over: OpenSSL reads its environment once, when it is loaded."""
    os.execve(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]], {**os.environ, **environment})


def _name(arguments: argparse.Namespace) -> str:
    """Return ``latest`` for the whole table at full counts, else a name of a partial run."""
    if arguments.quick or arguments.rows:
        return "partial"
    name = "peers" if arguments.peers else "latest"
    return f"{name}-without-sha-instructions" if arguments.without_sha_instructions else name


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--rows", nargs="+", choices=ROWS, metavar="NAME", help=f"run these rows alone: {', '.join(ROWS)}")
    add("--peers", action="store_true", help="compare other servers on the first row instead of running the rows")
    add("--quick", action="store_true", help="use small counts, to check that every row runs")
    add("--minutes", type=float, metavar="N", help="length of each form of the row mixed, in minutes (3)")
    add("--out", type=Path, default=RESULTS, metavar="FOLDER", help="folder of the table and its JSON")
    add(
        "--without-sha-instructions", action="store_true",
        help="hide SHA instructions from OpenSSL, as on processors that have none (x86 only)",
    )  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
