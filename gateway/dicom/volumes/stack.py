"""Images that make a volume, sorted into one grid of voxels.

Frames are placed by their own functional groups (PS3.3 C.7.6.16) and sorted by position along the normal of their plane
(PS3.3 C.7.6.2.1.1); file names and instance numbers never count.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gateway.dicom.reading import mosaic
from gateway.dicom.reading.attributes import Vector, number, numbers
from gateway.dicom.reading.classify import contents
from gateway.dicom.reading.geometry import (
    EVEN_MM,
    EVEN_RATIO,
    Affine,
    affine,
    fit_grid,
    is_orthonormal,
    normal,
    pixel_spacing,
)
from gateway.dicom.reading.instances import Instance
from gateway.dicom.reading.raw_values import different, distinct
from gateway.dicom.reading.redaction import naming
from gateway.dicom.volumes import belonging, rescaling, uniformity
from gateway.dicom.volumes.shared_properties import GREY, Fault, Frame, group, mixtures, values
from gateway.errors import StudyRefused

__all__ = ["GREY", "Frame", "Stack", "group", "place", "refuse", "stack"]

MAX_SHIFT_PIXELS = 0.5
"""How far the last slice of a stack may lie beside the first and still be called upright: its voxels are the same."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Frames from the first to the last along the normal, their affine, and what a careful reader should be told.

    ``tilt`` is the angle in degrees between the normal and the way from slice to slice.
    """

    frames: tuple[Frame, ...]
    affine: Affine
    tilt: float
    remarks: tuple[str, ...]


def refuse(faults: Iterable[Fault]) -> None:
    """Raise StudyRefused with all faults, if there are any; ``reasons`` of the problem has their sentences."""
    all_faults = list(faults)
    if all_faults:
        sentences = [fault.sentence for fault in all_faults]
        private = "no volume: " + ", ".join(fault.reason for fault in all_faults)
        raise StudyRefused(" ".join(sentences), private=private, reasons=sentences)


def stack(
    instances: Sequence[Instance],
    *,
    allow_tilt: bool = False,
    spacing_tolerance: float | None = None,
    uneven: bool = False,
) -> Stack:
    """Sort the frames of one series into a stack. Raises StudyRefused with one sentence for each reason."""
    images, remarks = belonging.images_among(instances)
    if instances and not images:
        raise StudyRefused(
            f"The series holds no image, but {contents(instances)}; a volume needs images: send those, or use a model"
            " of a Study or of list[Series].",
            private="no images",
        )
    mosaic.refuse(images)
    refuse(mixtures(images))
    frames = [(one, frame) for one in images for frame in range(one.frames)]
    refuse(values(frames))
    rescaling.check(frames)
    placed = [place(frame) for frame in frames]
    refuse(uniformity.planes(placed))
    across = normal(_known(placed[0]))
    heights = np.array([one.position for one in placed]) @ across
    order = np.argsort(heights, kind="stable")
    where, heights = np.array([placed[index].position for index in order]), heights[order]
    refuse(uniformity.steps(heights, images, ratio=spacing_tolerance, uneven=uneven))
    shifts = where - where[0] - np.outer(heights - heights[0], across)
    tilt = float(np.degrees(np.arctan2(np.linalg.norm(shifts[-1]), heights[-1] - heights[0])))
    tilted = bool(np.linalg.norm(shifts[-1]) > MAX_SHIFT_PIXELS * pixel_spacing(placed[0]).min())
    refuse(uniformity.shears(shifts, heights, tilt if tilted and not allow_tilt else 0.0, ratio=spacing_tolerance))
    ordered = [frames[index] for index in order]
    matrix = _affine(placed[order[0]], placed[order[-1]], len(order))
    if len(order) > 1 and not uniformity.is_even(heights):
        matrix[:3, 3], matrix[:3, 0] = fit_grid(where)
    remarks += _remarks(ordered, heights, tilt if tilted else 0.0)
    return Stack(tuple(ordered), matrix, tilt, tuple(remarks))


def place(frame: Frame) -> Instance:
    """A frame as an instance of its own, as far as geometry goes; a multi-frame image must place each by itself.

    Raises StudyRefused for a number that is unreadable.
    """
    instance, _ = frame
    if instance.frames == 1:
        return instance
    with naming(instance.source):
        position, orientation = group(frame, "PlanePositionSequence"), group(frame, "PlaneOrientationSequence")
        cosines = numbers(orientation, "ImageOrientationPatient", 6)
        return replace(
            instance,
            header=group(frame, "PixelMeasuresSequence"),
            position=None if position is instance.header else numbers(position, "ImagePositionPatient", 3),
            orientation=cosines if cosines is not None and is_orthonormal(cosines) else None,
        )


def _affine(first: Instance, last: Instance, count: int) -> Affine:
    """The affine of an even stack, of which the ends tell all."""
    if count == 1:
        return affine([first])
    matrix = affine([first, last])
    matrix[:3, 0] /= count - 1
    return matrix


def _remarks(frames: Sequence[Frame], heights: Vector, tilt: float) -> Iterator[str]:
    """Remarks that are no reason to refuse, but are reported."""
    if not uniformity.is_even(heights):
        gaps = np.diff(heights)
        fault = "Slices are missing" if uniformity.misses_slices(heights) else "The slices are not evenly spaced"
        yield (
            f"{fault}: from one to the next it is {gaps.min():.2f} to"
            f" {gaps.max():.2f} mm; the affine is that of the even grid nearest to them."
        )
    if tilt:
        yield f"The gantry was tilted by {tilt:.1f} degrees; the volume is sheared, as its affine says."
    groups = [group(frame, "PixelValueTransformationSequence") for frame in frames]
    if any(distinct(groups, keyword) > 1 for keyword in ("RescaleSlope", "RescaleIntercept")):
        yield "The rescale differs from slice to slice; each was given its own."
    measured = float(heights[-1] - heights[0]) / max(len(heights) - 1, 1)
    for gap in _stated_gaps(frames) if measured else ():
        if abs(gap - measured) > max(EVEN_MM, EVEN_RATIO * measured):
            yield f"The header states {gap:.2f} mm between slices, their positions say {measured:.2f} mm."
            return


def _stated_gaps(frames: Sequence[Frame]) -> Iterator[float]:
    """Each Spacing Between Slices that a frame states, in mm."""
    owned = [(frame[0], group(frame, "PixelMeasuresSequence")) for frame in frames]
    sources = {id(measures): image.source for image, measures in owned}
    for measures in different((measures for _, measures in owned), "SpacingBetweenSlices"):
        with naming(sources[id(measures)]):
            gap = number(measures, "SpacingBetweenSlices")
        if gap:
            yield abs(gap)


def _known(instance: Instance) -> Vector:
    assert instance.orientation is not None
    return instance.orientation
