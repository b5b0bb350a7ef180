"""Findings of an answer, each with what it lies on: JSON and buffers of protocol 1.0 on the images of a study.

A mask that names ``dicom_image`` lies on that image. Any other has (time point, slice, row, column) and lies on the
series that it names, else on the first series that it fits, in spatial order; the frames of a multi-frame image count
as slices. A mask of one time point over a series of several lies on the first. A length that names no image lies on the
only one of the study or, in world coordinates, on the nearest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gateway.contract.findings import Array, Finding, LinearMeasurement
from gateway.dicom.reading.attributes import Vector
from gateway.dicom.reading.geometry import affine, normal
from gateway.dicom.reading.instances import Instance, group_by_series, sort_spatially, spatial_order
from gateway.dicom.reading.raw_values import distinct
from gateway.dicom.volumes.images import Image
from gateway.dicom.volumes.nifti_volumes import is_nifti
from gateway.dicom.volumes.segmentations import on_images
from gateway.dicom.volumes.stack import Frame
from gateway.dicom.volumes.study import Series
from gateway.errors import AnswerInvalid, StudyRefused
from gateway.protocol.answers import Location, read_masks, read_members

EDGE_ON = 1e-3
"""x and y alone say where a point lies only on a plane that is not parallel to z, by at least this much."""


@dataclass(frozen=True)
class Unplaced:
    """A series of which only the UID is known: the study has no images of it."""

    series_instance_uid: str


def placed_masks(document: dict[str, Any], buffers: Sequence[Any], source: Sequence[Instance]) -> Iterator[Finding]:
    """Read the masks among ``parts`` in their order; ``of`` is None without a ``source``.

    ``document`` passed the checks of protocol 1.0. Raises AnswerInvalid for a mask that fits no series or image.
    """
    shown = _shown(source)
    series = {uid: list(_images(spatial_order(found))) for uid, found in group_by_series(shown).items()}
    at = _Places(shown)
    for finding, location in read_masks(document, buffers):
        yield _mask(finding, location, at, series) if shown else finding


def placed_members(document: dict[str, Any], source: Sequence[Instance]) -> Iterator[Finding]:
    """Read boxes, lengths, labels and conformance, as ``placed_masks``; labels of an absent series are Unplaced."""
    shown = _shown(source)
    series = {uid: Series(tuple(sort_spatially(found))) for uid, found in group_by_series(source).items()}
    for finding, location in read_members(document):
        if location.series is not None:
            yield replace(finding, of=series.get(location.series) or Unplaced(location.series))
        elif isinstance(finding, LinearMeasurement) and shown:
            yield _length(finding, location, shown)
        elif location.image is not None and shown:
            yield replace(finding, of=_every_frame(location, shown))
        else:
            yield finding


def _shown(source: Sequence[Instance]) -> list[Instance]:
    """The images of a source; a NIfTI file that it has twice is one."""
    return list({one.sop_instance_uid if is_nifti(one) else id(one): one for one in source if one.frames}.values())


def _images(instances: Sequence[Instance]) -> Iterator[Frame]:
    """Each image of one series with its frame, in the order in which masks count slices."""
    return ((one, frame) for one in instances for frame in range(one.frames))


def frame_index(number: int | None) -> int:
    """Return a ``frame_number`` as an index from 0: DICOM counts frames from 1; 0 stands for the first too."""
    return max(0, (number or 1) - 1)


class _Places:
    """What masks over images of ``source`` lie on, read once for masks that lie on the same."""

    def __init__(self, source: Sequence[Instance]) -> None:
        self.source = source
        self._instances = {one.source: one for one in source}
        self._known: dict[tuple[Any, ...], Any] = {}

    def of(self, at: Sequence[Frame], *, single: bool) -> Any:
        key = (single, *((id(one.source), frame) for one, frame in at))
        if key not in self._known:
            self._known[key] = on_images([(self._instances[one.source], frame) for one, frame in at], single=single)
        return self._known[key]


def _mask(finding: Any, location: Location, places: _Places, series: dict[str, list[Frame]]) -> Any:
    """A mask with its planes in the order of the slices that it lies on."""
    planes = finding.array.reshape(-1, *finding.array.shape[-2:])
    image = location.image is not None
    at = _on_image(location, planes, places.source) if image else _on_series(location, planes, series)
    if not at:
        raise _misfit(location, planes)
    of = places.of(at, single=not location.has_slices)
    index = {(one.source, frame): number for number, (one, frame) in enumerate(at)}
    order = [index[one.source, frame] for one, frame in of.frames]
    if order != list(range(len(planes))):
        planes = planes[order]
    return replace(finding, array=planes[0] if isinstance(of, Image) else planes, of=of)


def _on_image(location: Location, planes: Array, source: Sequence[Instance]) -> list[Frame]:
    """Return the image and frame named for one plane, or all frames of an image that is named without a frame."""
    found = list[Frame]()
    for one in source:
        if one.sop_instance_uid != location.image or planes.shape[1:] != (one.rows, one.columns):
            continue
        frame = frame_index(location.frame_number)
        if len(planes) == 1 and frame < one.frames:
            found = [(one, frame)]
        elif len(planes) == one.frames and location.frame_number is None:
            found = list(_images([one]))
    return found


def _on_series(location: Location, planes: Array, series: dict[str, list[Frame]]) -> list[Frame]:
    """The images of the first series that has one for each plane, all of its size."""
    for uid, images in series.items():
        if location.series not in (None, uid):
            continue
        for candidates in (images, [pair for pair in images if pair[0].time_point == 0]):
            sizes = {(one.rows, one.columns) for one, _ in candidates}
            if len(planes) == len(candidates) and sizes == {planes.shape[1:]}:
                return candidates
    return []


def _misfit(location: Location, planes: Array) -> AnswerInvalid:
    shape = " x ".join(map(str, planes.shape))
    if location.image is not None:
        return AnswerInvalid(f"{location.pointer}/dicom_image", f"A mask of {shape} fits no image of this name.")
    return AnswerInvalid(f"{location.pointer}/binary_data_shape", f"A mask of {shape} fits no series of the study.")


def _named(location: Location, source: Sequence[Instance]) -> list[Instance]:
    """The images of one SOP Instance UID: several where a file was sent twice."""
    found = [one for one in source if one.sop_instance_uid == location.image]
    if not found:
        raise AnswerInvalid(f"{location.pointer}/SOPInstanceUID", "The study has no image of this SOPInstanceUID.")
    return found


def _frame(location: Location, one: Instance) -> int:
    """The frame of an annotation; the number means nothing on an image of one frame."""
    frame = frame_index(location.frame_number) if one.frames > 1 else 0
    if frame >= one.frames:
        raise AnswerInvalid(f"{location.pointer}/frame_number", f"The image has {one.frames} frames.")
    return frame


def _every_frame(location: Location, source: Sequence[Instance]) -> Image:
    """The image that a box lies on: the frame it names, else all of its frames."""
    images = _named(location, source)
    if location.frame_number is None:
        return Image(tuple(_images(images)))
    return Image(tuple((one, _frame(location, one)) for one in images))


def _length(finding: LinearMeasurement, location: Location, source: Sequence[Instance]) -> Finding:
    """A length on its image; points of x and y in the patient become the pixels that they fall on."""
    images = _named(location, source) if location.image is not None else [_only(finding, location, source)]
    of = Image(tuple((one, _frame(location, one)) for one in images))
    if not location.world:
        return replace(finding, of=of)
    start, end = (_in_plane(point, images[0], location) for point in (finding.start, finding.end))
    return replace(finding, of=of, start=start, end=end)


def _only(finding: LinearMeasurement, location: Location, source: Sequence[Instance]) -> Instance:
    """Return the image of a length that names no image."""
    if len(source) == 1:
        return source[0]
    one_space = distinct((one.header for one in source), "FrameOfReferenceUID") == 1
    if location.world and one_space and len(finding.start) == len(finding.end) == 3:
        near = list(_near(np.asarray([finding.start, finding.end], float), source))
        if near:
            return min(near, key=lambda pair: pair[0])[1]
    sentence = "The measurement should name its image, since the study has several."
    raise AnswerInvalid(f"{location.pointer}/SOPInstanceUID", sentence)


def _near(points: Vector, source: Sequence[Instance]) -> Iterator[tuple[float, Instance]]:
    """The distances of two points from each image that has a place in the patient, added up, in mm."""
    for one in source:
        if one.position is not None and one.orientation is not None:
            yield float(np.abs((points - one.position) @ normal(one.orientation)).sum()), one


def _in_plane(point: tuple[float, ...], one: Instance, location: Location) -> tuple[float, ...]:
    """A point of x, y and z as it is; one of x and y alone, in mm LPS, as (column, row) of the image."""
    if is_nifti(one) and len(point) == 3:
        return point
    try:
        matrix = affine([one])
    except StudyRefused as error:
        sentence = "The image has no place in the patient, so a measurement in world coordinates cannot lie on it."
        raise AnswerInvalid(f"{location.pointer}/coordinates_type", sentence) from error
    if len(point) == 3:
        return point
    if abs(matrix[2, 0]) < EDGE_ON * np.linalg.norm(matrix[:3, 0]):
        sentence = "x and y alone do not say where a point lies on this image; z is missing."
        raise AnswerInvalid(f"{location.pointer}/start", sentence)
    pixels = np.linalg.solve(matrix[:2, 2:0:-1], np.asarray(point, float) - matrix[:2, 3])
    return tuple(pixels.tolist())
