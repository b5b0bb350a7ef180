"""The members of an entry of ``parts`` that state what the array of a mask does not: both ways, a pair for each kind.

``write_...(finding, members)`` returns members of the entry, and may add to ``members`` of the whole answer.
``read_...(entry, members)`` returns fields of the finding.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from gateway.contract.findings import Heatmap, Label, LabelMask, ProbabilityMask
from gateway.contract.requests import JSON

Anchors = Sequence[tuple[float, tuple[int, int, int, int]]]


def write_nothing(finding: Any, members: JSON) -> JSON:
    """Return no members: the array states all."""
    return {}


def read_nothing(entry: JSON, members: JSON) -> dict[str, Any]:
    """Return no fields: the array states all."""
    return {}


def write_threshold(finding: ProbabilityMask, members: JSON) -> JSON:
    """Return ``probability_threshold``."""
    return {"probability_threshold": finding.threshold}


def read_threshold(entry: JSON, members: JSON) -> dict[str, Any]:
    """Return the threshold, 0.5 where the entry has none."""
    return {"threshold": float(entry.get("probability_threshold", 0.5))}


def write_labels(finding: LabelMask, members: JSON) -> JSON:
    """Return ``label_map``: names by value."""
    names = ((value, label.name if isinstance(label, Label) else label) for value, label in finding.labels.items())
    return {"label_map": {str(value): str(name) for value, name in names}}


def read_labels(entry: JSON, members: JSON) -> dict[str, Any]:
    """Return the names by value, without the background."""
    return {"labels": {int(key): str(name) for key, name in entry["label_map"].items() if int(key)}}


def write_palette(finding: Heatmap, members: JSON) -> JSON:
    """Return the name under which ``palettes`` has the anchor points; equal ones share it."""
    if finding.palette is None:
        return {}
    palettes = members.setdefault("palettes", {})
    points = [{"threshold": float(place), "color": list(map(int, colour))} for place, colour in finding.palette]
    palette = {"type": "anchorpoints", "data": points}
    known = (name for name, other in palettes.items() if other == palette)
    name = cast(str, next(known, f"palette_{len(palettes)}"))
    palettes[name] = palette
    return {"palette": name}


def read_palette(entry: JSON, members: JSON) -> dict[str, Any]:
    """Return the palette that the entry names, as anchor points; None where it names none."""
    palette = members.get("palettes", {}).get(entry.get("palette"))
    return {"palette": None if palette is None else anchors(palette)}


def anchors(palette: JSON) -> Anchors:
    """Return the anchor points of a palette; a table of 256 colours has one for each."""
    if palette["type"] == "lut":
        colours = np.reshape(palette["data"], (256, 4)).tolist()
        return [(index / 255, tuple(colour)) for index, colour in enumerate(colours)]
    return [(float(anchor["threshold"]), tuple(anchor["color"])) for anchor in palette["data"]]
