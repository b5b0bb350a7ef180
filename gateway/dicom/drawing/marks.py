"""Boxes and lengths as marks on their images, in pixels: a row for each class of finding."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gateway.contract.findings import BoundingBox, LinearMeasurement
from gateway.dicom.drawing.layers import Key
from gateway.dicom.reading.attributes import Vector
from gateway.dicom.reading.geometry import Affine, affine, pixel_spacing, to_index
from gateway.dicom.reading.instances import Instance
from gateway.dicom.volumes.nifti_volumes import is_nifti, volume_of
from gateway.errors import StudyRefused


@dataclass(frozen=True)
class Mark:
    """Two corners of a box or two ends of a line, each (column, row) in pixels, and the text beside it."""

    is_box: bool
    start: Vector
    end: Vector
    text: str


def marks(findings: Iterable[Any]) -> dict[Key, list[Mark]]:
    """Return the boxes and lengths among ``findings`` by the images that they lie on.

    One that names no slice lies on every frame of its ``of``. Raises StudyRefused for a length in the patient on an
    image without a place there.
    """
    found: dict[Key, list[Mark]] = {}
    for finding in findings:
        if type(finding) not in MARKS:
            continue
        frames = finding.of.frames if finding.slice is None else [finding.of.frames[finding.slice]]
        for one, frame in frames:
            found.setdefault((one.source, frame), []).append(MARKS[type(finding)](finding, one))
    return found


def _box(box: BoundingBox, one: Instance) -> Mark:
    return Mark(True, np.asarray(box.top_left, float), np.asarray(box.bottom_right, float), box.label)


def _length(line: LinearMeasurement, one: Instance) -> Mark:
    """A length in the patient, mm LPS, is projected onto its image along the normal, and keeps its own length."""
    start, end = np.asarray(line.start, float), np.asarray(line.end, float)
    if len(start) == 3:
        length, matrix = f"{np.linalg.norm(end - start):.1f} mm", _affine(one)
        start, end = (to_index(matrix, point)[:0:-1] for point in (start, end))
    else:
        length = _in_plane(end - start, one)
    return Mark(False, start, end, f"{line.label} {length}".strip())


def _affine(one: Instance) -> Affine:
    return volume_of(one).affine if is_nifti(one) else affine([one])


def _in_plane(way: Vector, one: Instance) -> str:
    """The length of (columns, rows): in mm where the image states the size of its pixels."""
    try:
        rows, columns = pixel_spacing(one)
    except StudyRefused:
        return f"{np.hypot(*way):.0f} px"
    return f"{np.hypot(way[0] * columns, way[1] * rows):.1f} mm"


MARKS: Mapping[type, Callable[[Any, Instance], Mark]] = {BoundingBox: _box, LinearMeasurement: _length}
"""A row for each class of finding that is drawn as lines."""
