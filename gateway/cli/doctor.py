"""``doctor``: the results of the checks, as a table for a person or as JSON for a program."""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

from gateway import __version__
from gateway.doctor import Diagnosis, Level, Plan, examine, examine_application, stopping, verdict
from gateway.doctor.application import load

STYLES = {Level.OK: "green", Level.NOTE: "cyan", Level.WARN: "yellow", Level.FAIL: "bold red"}


def doctor(arguments: argparse.Namespace) -> list[str]:
    """Run all checks and print the findings; return the names of those that prevent serving."""
    app, imported = load(arguments.app, partial(_imported, arguments.app)) if arguments.app else (None, None)
    plan = Plan.read(os.environ, _gunicorn(), port=arguments.port, settings=app.settings if app else None)
    findings = list(examine(plan, os.environ))
    findings += [imported] if imported else []
    findings += examine_application(app, os.environ) if app else []
    tell = tell_json if arguments.json else tell_table if find_spec("rich") else tell_lines
    tell(findings)
    return stopping(findings)


def _imported(target: str) -> Any:
    from gateway.targets import ImportBroken, application

    try:
        return application(target)
    except ImportBroken as error:  # the doctor names its place, and withholds its text
        raise error.__cause__ or error from None


def _gunicorn() -> Mapping[str, Any]:
    """Return the settings that ``serve`` passes to gunicorn; empty without gunicorn, which a check reports."""
    try:
        from gateway.server.master import DEFAULTS
    except ImportError:
        return {}
    return DEFAULTS


def tell_json(findings: list[Diagnosis]) -> None:
    """Print an object: the gateway's version, the most severe level, and each finding in order."""
    entries = [{"name": each.name, "level": each.level, "text": each.text, "remedy": each.remedy} for each in findings]
    body = {"gateway": __version__, "verdict": verdict(findings), "findings": entries}
    sys.stdout.write(json.dumps(body, indent=2) + "\n")


def tell_table(findings: list[Diagnosis]) -> None:
    """Print a row for each finding, with the remedy below a bad one; in colours on a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for each in findings:
        text = Text(each.text)
        if each.remedy:
            text.append(f"\n{each.remedy}", style="dim")
        table.add_row(Text(each.level, style=STYLES[each.level]), Text(each.name, no_wrap=True), text)
    Console(highlight=False).print(table)


def tell_lines(findings: list[Diagnosis]) -> None:
    """Print plain lines: rich may be the missing package."""
    for each in findings:
        sys.stdout.write(f"{each.level:4} {each.name}: {each.text} {each.remedy}".rstrip() + "\n")
