"""The returned value of a model -> findings that agree with their images, or an error that names the fault."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from gateway.binding.declaration import FINDINGS, Declaration
from gateway.contract.findings import (
    MASKS,
    BoundingBox,
    Finding,
    Heatmap,
    LabelMask,
    LinearMeasurement,
    Mask,
    ProbabilityMask,
    SecondaryCapture,
)
from gateway.dicom.volumes.study import Image, Volume
from gateway.errors import AnswerInvalid

FROM_ARRAYS = (Mask, ProbabilityMask, Heatmap, SecondaryCapture)
"""Findings that an array alone makes; a LabelMask needs the names of its labels."""
PLACED = (*MASKS, BoundingBox, LinearMeasurement)
"""Findings that lie on images, and so on the one volume or image that the model takes, where they do not say."""


def findings(returned: Any, declaration: Declaration, arguments: Mapping[str, Any]) -> list[Finding]:
    """Read what a model returned. Raises AnswerInvalid for what was not declared or does not fit its images."""
    implied = implied_place(declaration, arguments)
    return [
        _checked(finding, f"Finding {number}, a {type(finding).__name__},", implied)
        for number, finding in enumerate(_declared(returned, declaration), start=1)
    ]


def _declared(returned: Any, declaration: Declaration) -> Iterator[Any]:
    if returned is None and not declaration.may_be_nothing:
        raise AnswerInvalid("", "The model returned nothing. Return [] where nothing was found.")
    for item in _items(returned):
        finding = _from_array(item, declaration) if isinstance(item, np.ndarray) else item
        if type(finding) not in FINDINGS:
            raise AnswerInvalid("", f"The model should return findings, such as Mask, not {type(finding).__name__}.")
        if type(finding) not in declaration.outputs:
            names = " and ".join(one.__name__ for one in declaration.outputs) or "no findings"
            raise AnswerInvalid("", f"The model declares {names}, but it returned a {type(finding).__name__}.")
        yield finding


def _items(returned: Any) -> Sequence[Any]:
    if returned is None:
        return ()
    return returned if isinstance(returned, (list, tuple)) else (returned,)


def _from_array(array: Any, declaration: Declaration) -> Finding:
    kinds = [one for one in declaration.outputs if one in FROM_ARRAYS]
    if len(declaration.outputs) == 1 and kinds:
        return cast(Finding, kinds[0](array))
    names = ", ".join(one.__name__ for one in declaration.outputs)
    raise AnswerInvalid("", f"The model returned an array and may return {names}; say which: return Mask(array).")


def implied_place(declaration: Declaration, arguments: Mapping[str, Any]) -> Volume | Image | None:
    """The implied place of a finding: the one volume, else the one image, that the model declares."""
    for kind in (Volume, Image):
        named = [one.name for one in declaration.inputs if one.type is kind]
        if len(named) == 1:
            given = arguments[named[0]]
            return (given[0] if len(given) == 1 else None) if isinstance(given, list) else given
    return None


def _checked(finding: Any, it: str, implied: Volume | Image | None) -> Finding:
    if type(finding) not in PLACED:
        return cast(Finding, finding)
    in_the_patient = isinstance(finding, LinearMeasurement) and len(finding.start) == 3
    placed = finding if finding.of is not None else replace(finding, of=implied)
    if placed.of is None and not in_the_patient:
        raise AnswerInvalid(
            "", f"{it} does not say what it lies on, and the model takes no single volume: give it of=."
        )
    if type(placed) in MASKS:
        _check_mask(placed, it)
    else:
        _check_points(placed, it)
    return cast(Finding, placed)


def _check_mask(mask: Any, it: str) -> None:
    array, lies_on, rule = mask.array, tuple(getattr(mask.of, "shape", ())), MASKS[type(mask)]
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise AnswerInvalid("", f"{it} holds a {type(array).__name__}, not a numpy array.")
    if array.shape != lies_on:
        kind = type(mask.of).__name__
        raise AnswerInvalid("", f"{it} has the shape {array.shape}, but the {kind} it lies on has {lies_on}.")
    if array.dtype.kind not in rule.dtypes and array.dtype != np.uint8:
        raise AnswerInvalid("", f"{it} is {array.dtype.name}; {rule.wanted}.")
    if array.dtype.kind in "iu" and not (array.min(initial=0) >= 0 and array.max(initial=0) <= rule.largest):
        raise AnswerInvalid("", f"{it} holds values beyond 0 to {rule.largest}; {rule.wanted}.")
    if isinstance(mask, LabelMask):
        _check_labels(mask, it)


def _check_labels(mask: LabelMask, it: str) -> None:
    if not all(isinstance(value, (int, np.integer)) and not isinstance(value, bool) for value in mask.labels):
        raise AnswerInvalid("", f"{it} names labels by other keys than whole numbers, such as {{1: 'Liver'}}.")
    if not all(1 <= value <= 255 for value in mask.labels):
        raise AnswerInvalid("", f"{it} names labels beyond 1 to 255; 0 is the background.")
    named = np.zeros(256, bool)
    named[[0, *mask.labels]] = True
    known = named[mask.array]
    if not known.all():
        raise AnswerInvalid("", f"{it} holds a value that its labels do not name: {mask.array[~known][0]}.")


def _check_points(finding: BoundingBox | LinearMeasurement, it: str) -> None:
    """Corners and ends of (column, row) lie on the image, to the outer edge of its pixels; a box is no inside-out."""
    first, last = _ends(finding)
    if len(first) != len(last) or len(first) not in ((2, 3) if isinstance(finding, LinearMeasurement) else (2,)):
        raise AnswerInvalid("", f"{it} has points of {len(first)} and {len(last)} numbers; give (column, row).")
    if not np.isfinite([*first, *last]).all():
        raise AnswerInvalid("", f"{it} has a point that is not finite.")
    if isinstance(finding, BoundingBox) and (last[0] < first[0] or last[1] < first[1]):
        raise AnswerInvalid("", f"{it} has its bottom right above or left of its top left.")
    rows, columns = tuple(getattr(finding.of, "shape", (np.inf, np.inf)))[-2:]
    if len(first) == 2 and not all(-0.5 <= x <= columns - 0.5 and -0.5 <= y <= rows - 0.5 for x, y in (first, last)):
        raise AnswerInvalid("", f"{it} leaves its image of {rows} rows and {columns} columns.")


def _ends(finding: BoundingBox | LinearMeasurement) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if isinstance(finding, BoundingBox):
        return finding.top_left, finding.bottom_right
    return finding.start, finding.end
