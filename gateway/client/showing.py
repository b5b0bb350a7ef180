"""A result on the screen: its findings as a line or a table, and its contact sheet."""

import atexit
import shutil
import sys
import tempfile
import webbrowser
from collections import Counter
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from gateway.client.answer import Answer, is_mask
from gateway.client.errors import ClientError, counted
from gateway.contract.sop_classes import BY_STEM

ROWS = 50
"""Rows of a table; the rest is counted."""
MEMBERS = {"bounding_boxes_2d": "bounding box", "linear_measurements_2d": "linear measurement"}
"""Lists of findings in an answer's JSON, and the name of one."""


class FindingRow(NamedTuple):
    """A finding of a table: its kind, its label, and its size or number."""

    kind: str
    label: str = ""
    value: str = ""


def counts(answer: Answer) -> list[str]:
    """Count the findings of an answer by kind for a person: ``2 boolean masks``, ``1 segmentation``."""
    kinds = Counter(row.kind for row in _rows(answer))
    return [counted(count, kind) for kind, count in kinds.items()] or ["no findings"]


def table(answer: Answer, title: str) -> str:
    """Return the findings as HTML; of labels the numbers alone, since a text may name a patient."""
    rows = list(_rows(answer))
    lines = ["".join(f"<td>{escape(cell[:80])}</td>" for cell in row) for row in rows[:ROWS]]
    if len(rows) > ROWS:
        lines.append(f"<td colspan=3>and {len(rows) - ROWS} more</td>")
    head = "<tr><th>finding</th><th>label</th><th>value</th></tr>"
    return f"<table><caption>{escape(title)}</caption>{head}{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def show(sheet: Path) -> None:
    """Show a picture below the cell of a notebook, elsewhere in the viewer of the system. Raises ClientError."""
    shell: Any = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):  # a notebook; IPython on a terminal prints no pictures
        shell.display_pub.publish({"image/png": sheet.read_bytes(), "text/plain": sheet.name})
    elif not webbrowser.open(sheet.as_uri()):
        raise ClientError("This system has no viewer of pictures. Write them to a folder with to_png.")


def temporary() -> Path:
    """Return a new folder of this user alone, which is deleted when Python ends."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _rows(answer: Answer) -> Iterator[FindingRow]:
    from gateway.representations.answer_files import object_names

    names = object_names(answer)
    for index, part in enumerate(answer.parts):
        kind = BY_STEM[names[index].rpartition("_")[0]].name if index in names else str(part.get("binary_type"))
        yield FindingRow(kind.replace("_", " "), str(part.get("label", "")), _shape(part) if is_mask(part) else "")
    for member, kind in MEMBERS.items():
        for entry in _listed(answer.json.get(member)):
            yield FindingRow(kind, str(entry.get("label", "")))
    series = answer.json.get("series_ml_json")
    for labels in (answer.json.get("study_ml_json"), *(series.values() if isinstance(series, dict) else ())):
        for name, value in labels.items() if isinstance(labels, dict) else ():
            yield FindingRow("label", str(name), str(value) if isinstance(value, bool | int | float) else "(text)")


def _listed(entries: Any) -> list[dict[str, Any]]:
    return [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []


def _shape(part: dict[str, Any]) -> str:
    from gateway.protocol.buffers import shape_of  # brings numpy

    declared = part.get("binary_data_shape")
    return " x ".join(map(str, shape_of(declared))) if isinstance(declared, dict) else ""
