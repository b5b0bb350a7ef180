"""Conditions on the images of a volume: each function yields a sentence for each that is not met.

A sentence says what was found and what is needed, and quotes nothing from a file but counts and millimetres.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence

from gateway.dicom.reading.attributes import Vector, functional_group, text, value
from gateway.dicom.reading.geometry import EVEN_MM, EVEN_RATIO, MISSING_STEPS, grid_tolerance, off_grid, stated_spacing
from gateway.dicom.reading.instances import SAME_DIRECTION, SAME_POSITION_MM, Instance
from gateway.dicom.reading.mosaic import REFUSAL as MOSAIC
from gateway.dicom.reading.mosaic import is_mosaic
from gateway.dicom.reading.raw_values import different, distinct
from gateway.dicom.reading.redaction import naming

Frame = tuple[Instance, int]
"""One image: its instance, and its frame counted from 0."""

GREY = {"MONOCHROME1", "MONOCHROME2"}

OR_IMAGES = " or a model of images instead"
"""The way out for what is no volume and never will be."""

_UNITS = ("RescaleType", "Units")
"""What rescaled values mean: PS3.3 C.11.1, and C.8.9.1 for PET."""


def group(frame: Frame, macro: str) -> Dataset:
    """The functional group of a frame; the header itself where there is none. Raises StudyRefused."""
    with naming(frame[0].source):
        return functional_group(frame[0].header, macro, frame[1])


def mixtures(instances: Sequence[Instance]) -> Iterator[str]:
    """Yield the properties that differ among instances and must not in a volume."""
    without = sum(not one.frames for one in instances)
    if without or not instances:
        yield _sentence(
            f"{without} of {len(instances)} instances hold no image",
            "images, and nothing else: send the series without them",
        )
        return
    if any(is_mosaic(one.header) for one in instances):
        yield MOSAIC
        return
    headers = [one.header for one in instances]
    for count, what in (
        (len({one.series_instance_uid for one in instances}), "series"),
        (distinct(headers, "StudyInstanceUID"), "studies"),
        (
            distinct(headers, "FrameOfReferenceUID"),
            "frames of reference (FrameOfReferenceUID), so that their places cannot be compared",
        ),
    ):
        if count > 1:
            yield _sentence(f"The images belong to {count} {what}", "one")
    if any(one.frames > 1 and _places(one) != one.frames for one in instances):
        yield _sentence(
            "An image of several frames does not say where each of them lies",
            f"a place for each (PlanePositionSequence),{OR_IMAGES}",
        )
    named = [one.sop_instance_uid for one in instances if one.sop_instance_uid]
    if len(instances) > 1 and len(named) < len(instances):
        yield _sentence(f"{len(instances) - len(named)} images have no SOP Instance UID", "one for each image")
    if repeated := len(named) - len(set(named)):
        yield _sentence(f"{repeated} images have the SOP Instance UID of another", "each image once")
    if len({(one.rows, one.columns) for one in instances}) > 1:
        yield _sentence(
            "The images differ in rows or columns",
            "images of one size: send those of each size as a series of their own",
        )
    meanings = {text(header, "PhotometricInterpretation") for header in different(headers, "PhotometricInterpretation")}
    if not meanings <= GREY:
        yield _sentence(
            "The images are in colour, or hold no grey values", f"grey values (PhotometricInterpretation),{OR_IMAGES}"
        )
    elif len(meanings) > 1:
        yield _sentence("In some images the largest value is black, in others it is white", "one of the two")


def values(frames: Sequence[Frame]) -> Iterator[str]:
    """Check the meaning of the frames' values. A rescale for each frame is usual in PET, and right."""
    groups = [group(frame, "PixelValueTransformationSequence") for frame in frames]
    if any(distinct(groups, keyword) > 1 for keyword in _UNITS):
        yield _sentence("The values of the images are in different units", "one unit")


def planes(placed: Sequence[Instance]) -> Iterator[str]:
    """Check that all frames lie in parallel planes with pixels of one size."""
    lost = sum(one.position is None or one.orientation is None for one in placed)
    if lost:
        yield _sentence(
            f"{lost} of {len(placed)} images do not say where they lie in the patient",
            f"all to do so (ImagePositionPatient),{OR_IMAGES}",
        )
    orientations = np.array([one.orientation for one in placed if one.orientation is not None])
    if len(orientations) and np.ptp(orientations, axis=0).max() >= SAME_DIRECTION:
        yield _sentence(
            "The images lie in different directions, as in a localizer", "parallel images: send those of one direction"
        )
    measured = {id(measures): (one, measures) for one in placed for measures in [_measures(one)]}
    sizes = [_spacing(*measured[id(one)]) for one in different((each for _, each in measured.values()), "PixelSpacing")]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        yield _sentence(
            "Images do not state their pixel spacing", f"its size in millimetres (PixelSpacing),{OR_IMAGES}"
        )
    elif not np.allclose(known, known[0], rtol=1e-4, atol=0):
        yield _sentence(
            "The images differ in pixel spacing", "one spacing: send those of each spacing as a series of their own"
        )


def _measures(one: Instance) -> Dataset:
    with naming(one.source):
        return functional_group(one.header, "PixelMeasuresSequence")


def _spacing(one: Instance, measures: Dataset) -> Vector | None:
    with naming(one.source):
        return stated_spacing(measures)


def steps(heights: Vector, *, ratio: float | None = None, uneven: bool = False) -> Iterator[str]:
    """Check that there is one image at each of the even steps along the normal; ``uneven`` allows any steps."""
    gaps = np.diff(heights)
    if not len(gaps):
        return
    places = np.concatenate([[0], np.cumsum(gaps > SAME_POSITION_MM)])
    held = Counter(Counter(places.tolist()).values())
    if held.keys() != {1}:
        yield _crowding(held)
        return
    low, high, usual = float(gaps.min()), float(gaps.max()), float(np.sort(gaps)[(len(gaps) - 1) // 2])
    missing = high >= MISSING_STEPS * usual
    if uneven or is_even(heights) or not missing and off_grid(heights[:, None]) <= grid_tolerance(usual, ratio):
        return
    found = "Slices are missing" if missing else "The slices are not evenly spaced"
    yield _sentence(
        f"{found}: from one to the next it is {low:.2f} to {high:.2f} mm",
        "even steps, unless its author allows others: Requires(spacing_tolerance=...) or Requires(uneven=True)",
    )


def is_even(heights: Vector) -> bool:
    """Return True if slices lie on an even grid as exactly as scanners mostly write it."""
    even = np.linspace(heights[0], heights[-1], len(heights))
    return bool(np.abs(heights - even).max() <= tolerance(heights))


def _crowding(held: Counter[int]) -> str:
    """``held`` counts the positions by the number of images at each."""
    if len(held) == 1:
        (images, positions), *_ = held.items()
        return _sentence(
            f"There are {images} images at each of {positions} positions: several time points, echoes or phases",
            "one of them: send the images of one EchoTime, DiffusionBValue, ImageType or AcquisitionTime",
        )
    several = sum(count for images, count in held.items() if images > 1)
    return _sentence(f"Slices are duplicate: {several} of {held.total()} positions hold several images", "one at each")


def shears(shifts: Vector, heights: Vector, tilt: float, *, ratio: float | None = None) -> Iterator[str]:
    """Check that the slices lie straight above each other; ``tilt`` in degrees is refused unless it is 0."""
    along = (heights - heights[0]) / max(heights[-1] - heights[0], EVEN_MM)
    drift = np.linalg.norm(shifts - np.outer(along, shifts[-1]), axis=1).max()
    step = float(heights[-1] - heights[0]) / max(len(heights) - 1, 1)
    if drift > max(tolerance(heights), grid_tolerance(step, ratio)):
        yield _sentence(
            f"The slices are shifted against each other within their planes, by up to {drift:.2f} mm", "aligned slices"
        )
    elif tilt:
        yield _sentence(
            f"The gantry was tilted by {tilt:.1f} degrees, so that the slices are sheared",
            "an upright one, unless its author allows others: Requires(allow_tilt=True)",
        )


def _places(instance: Instance) -> int:
    """The number of frames that have functional groups of their own."""
    found = value(instance.header, "PerFrameFunctionalGroupsSequence")
    return len(found) if isinstance(found, DicomSequence) else 0


def _sentence(found: str, needed: str) -> str:
    return f"{found}; a volume needs {needed}."


def tolerance(heights: Vector) -> float:
    return max(EVEN_MM, EVEN_RATIO * float(heights[-1] - heights[0]) / max(len(heights) - 1, 1))
