"""The lines as a Markdown table and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.results import Line

HEADINGS = ("work", "ours", "baseline", "ratio", "must reach", "verdict")
Machine = dict[str, str | int | bool]


def markdown(lines: Sequence[Line], machine: Machine) -> str:
    """Return the table, the notes on its lines, and the machine."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *map(_cells, lines)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    notes = "\n".join(f"- {line.work}: {line.note}." for line in lines if line.note)
    facts = ", ".join(f"{name.replace('_', ' ')} {_fact(value)}" for name, value in machine.items())
    return f"{table}\n\n{notes}\n\nMeasured on: {facts}.\n"


def write(lines: Sequence[Line], machine: Machine, folder: Path, name: str) -> None:
    """Write ``name.md`` and ``name.json``, the latter with every sample."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(markdown(lines, machine))
    record = {"machine": machine, "lines": [asdict(line) for line in lines]}
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


def _cells(line: Line) -> tuple[str, ...]:
    baseline = _number(line.baseline, line.unit)
    return (
        line.work,
        _number(line.ours, line.unit),
        f"{baseline} ({line.against})" if line.against else baseline,
        "" if line.ratio is None else f"{line.ratio:.2f}",
        line.must_reach,
        _verdict(line),
    )


def _verdict(line: Line) -> str:
    if line.met is None:
        return "not measured" if line.ours is None else ""
    return "met" if line.met else "**missed**"


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if not unit:
        return f"{value:g}"
    digits = max(0, 3 - len(f"{abs(value):.0f}")) if unit != "s" else 3
    return f"{value:.{digits}f} {unit}"


def _fact(value: str | int | bool) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
