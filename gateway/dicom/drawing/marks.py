"""Boxes and measurements of an answer, each on its image, in pixels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gateway.dicom.drawing.placement import Key, frame_index
from gateway.dicom.reading.attributes import Vector
from gateway.dicom.reading.geometry import affine, normal, pixel_spacing, to_index
from gateway.dicom.reading.instances import Instance
from gateway.errors import AnswerInvalid, StudyRefused

EDGE_ON = 1e-3
"""x and y alone say where a point lies only on a plane that is not parallel to z, by at least this much."""


@dataclass(frozen=True)
class Mark:
    """Two corners of a box or two ends of a line, each (column, row) in pixels, and what to write beside it."""

    is_box: bool
    start: Vector
    end: Vector
    text: str


def marks(instances: Sequence[Instance], answer: dict[str, Any]) -> dict[Key, list[Mark]]:
    """Every box and measurement by the images it lies on.

    A measurement that names no image lies on the only one of the study or, in world coordinates, on the nearest. Raises
    AnswerInvalid for what lies on no image.
    """
    found: dict[Key, list[Mark]] = {}
    for index, box in enumerate(answer.get("bounding_boxes_2d", [])):
        corners = np.asarray(box["top_left"], float), np.asarray(box["bottom_right"], float)
        for one in _named(box, instances, f"/bounding_boxes_2d/{index}"):
            for frame in range(one.frames):
                found.setdefault((one.source, frame), []).append(Mark(True, *corners, str(box["label"])))
    for index, line in enumerate(answer.get("linear_measurements_2d", [])):
        at = f"/linear_measurements_2d/{index}"
        for one in _named(line, instances, at) if "SOPInstanceUID" in line else [_only(line, instances, at)]:
            found.setdefault((one.source, _frame(line, one, at)), []).append(_line(line, one, at))
    return found


def _named(item: dict[str, Any], instances: Sequence[Instance], at: str) -> list[Instance]:
    found = [one for one in instances if one.sop_instance_uid == item["SOPInstanceUID"]]
    if not found:
        raise AnswerInvalid(f"{at}/SOPInstanceUID", "The study has no image of this SOPInstanceUID.")
    return found


def _only(line: dict[str, Any], instances: Sequence[Instance], at: str) -> Instance:
    """The image of a measurement that names none."""
    if len(instances) == 1:
        return instances[0]
    points = np.asarray([line["start"], line["end"]], float)
    if line["coordinates_type"] == "world" and points.shape == (2, 3) and (near := list(_near(points, instances))):
        return min(near, key=lambda pair: pair[0])[1]
    raise AnswerInvalid(f"{at}/SOPInstanceUID", "The measurement should name its image, since the study has several.")


def _near(points: Vector, instances: Sequence[Instance]) -> Iterator[tuple[float, Instance]]:
    for one in instances:
        if one.position is not None and one.orientation is not None:
            yield float(np.abs((points - one.position) @ normal(one.orientation)).sum()), one


def _frame(line: dict[str, Any], one: Instance, at: str) -> int:
    """The frame of a measurement; the number means nothing on an image of one frame."""
    frame = frame_index(line.get("frame_number")) if one.frames > 1 else 0
    if frame >= one.frames:
        raise AnswerInvalid(f"{at}/frame_number", f"The image has {one.frames} frames.")
    return frame


def _line(line: dict[str, Any], one: Instance, at: str) -> Mark:
    ends = np.asarray(line["start"], float), np.asarray(line["end"], float)
    if line["coordinates_type"] == "world":
        start, end = (_projected(point, one, at) for point in ends)
    else:
        start, end = ends
    solid = line["coordinates_type"] == "world" and len(ends[0]) == len(ends[1]) == 3
    length = f"{np.linalg.norm(ends[1] - ends[0]):.1f} mm" if solid else _length(end - start, one)
    return Mark(False, start, end, f"{line.get('label', '')} {length}".strip())


def _projected(point: Vector, one: Instance, at: str) -> Vector:
    """A point in patient mm, LPS, along the normal onto the image; one of x and y alone as it lies on the image."""
    try:
        matrix = affine([one])
    except StudyRefused as error:
        sentence = "The image has no place in the patient, so a measurement in world coordinates cannot lie on it."
        raise AnswerInvalid(f"{at}/coordinates_type", sentence) from error
    if len(point) == 3:
        return to_index(matrix, point)[:0:-1]
    if abs(matrix[2, 0]) < EDGE_ON * np.linalg.norm(matrix[:3, 0]):
        raise AnswerInvalid(f"{at}/start", "x and y alone do not say where a point lies on this image; z is missing.")
    return np.asarray(np.linalg.solve(matrix[:2, 2:0:-1], point - matrix[:2, 3]), float)


def _length(way: Vector, one: Instance) -> str:
    """The length of (columns, rows): in mm where the image says how large its pixels are."""
    try:
        rows, columns = pixel_spacing(one)
    except StudyRefused:
        return f"{np.hypot(*way):.0f} px"
    return f"{np.hypot(way[0] * columns, way[1] * rows):.1f} mm"
