"""Conditions on the places of the images of a volume: each function yields a fault for each that is not met."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from pydicom import Dataset

from gateway.dicom.reading.attributes import Vector, functional_group
from gateway.dicom.reading.geometry import EVEN_MM, EVEN_RATIO, MISSING_STEPS, grid_tolerance, off_grid, stated_spacing
from gateway.dicom.reading.instances import SAME_DIRECTION, SAME_POSITION_MM, Instance
from gateway.dicom.reading.redaction import naming
from gateway.dicom.volumes.shared_properties import OR_IMAGES, Fault, first_of_each

KINDS = {
    "ImageType": "magnitude and phase, or original and derived images",
    "EchoTime": "echoes",
    "EchoNumbers": "echoes",
    "DiffusionBValue": "b-values",
    "InversionTime": "inversions",
}
"""Attributes by which images at one position differ where they are no time points (PS3.3 C.8.3.1, C.8.13.5.9)."""

_TIMES = "AcquisitionTime, TriggerTime or TemporalPositionIdentifier"
_FRAME_KINDS = "FrameType, EffectiveEchoTime, DiffusionBValue or TemporalPositionIndex"


def planes(placed: Sequence[Instance]) -> Iterator[Fault]:
    """Check that all frames lie in parallel planes with pixels of one size."""
    lost = [image for image in placed if image.position is None or image.orientation is None]
    if lost:
        yield Fault(
            "no place",
            f"{len(lost)} of {len(placed)} images do not say where they lie in the patient",
            f"ImagePositionPatient and ImageOrientationPatient of each,{OR_IMAGES}",
            lost[0],
        )
    oriented = [image for image in placed if image.orientation is not None]
    orientations = np.array([image.orientation for image in oriented])
    if len(orientations) and np.ptp(orientations, axis=0).max() >= SAME_DIRECTION:
        furthest = int(np.abs(orientations - orientations[0]).max(axis=1).argmax())
        yield Fault(
            "several directions",
            "The images lie in different directions (ImageOrientationPatient), as in a localizer",
            f"parallel images: send those of one direction,{OR_IMAGES}",
            oriented[furthest],
        )
    yield from _pixel_sizes(placed)


def _pixel_sizes(placed: Sequence[Instance]) -> Iterator[Fault]:
    """Check the millimetres of the pixels; spacings that are written differently may be equal."""
    firsts = first_of_each(((image, _measures(image)) for image in placed), "PixelSpacing")
    sizes = [(image, _spacing(image)) for image in firsts.values()]
    without = [image for image, size in sizes if size is None]
    others = [image for image, size in sizes if size is not None and not _equal(size, sizes[0][1])]
    if without:
        yield Fault(
            "no PixelSpacing",
            "Images do not state their pixel spacing",
            f"its size in millimetres (PixelSpacing),{OR_IMAGES}",
            without[0],
        )
    elif others:
        yield Fault(
            "several pixel spacings",
            "The images differ in pixel spacing (PixelSpacing)",
            "one spacing: send those of each spacing as a series of their own",
            others[0],
        )


def _equal(size: Vector, other: Vector | None) -> bool:
    return other is None or np.allclose(size, other, rtol=1e-4, atol=0)


def _measures(image: Instance) -> Dataset:
    with naming(image.source):
        return functional_group(image.header, "PixelMeasuresSequence")


def _spacing(image: Instance) -> Vector | None:
    with naming(image.source):
        return stated_spacing(_measures(image))


def steps(
    heights: Vector, images: Sequence[Instance], *, ratio: float | None = None, uneven: bool = False
) -> Iterator[Fault]:
    """Check that there is one of the ``images`` at each of the even steps along the normal.

    ``uneven`` allows any steps, since its author says that the model needs no even grid; ``ratio`` never lets a gap of
    ``MISSING_STEPS`` pass.
    """
    gaps = np.diff(heights)
    if not len(gaps):
        return
    places = np.concatenate([[0], np.cumsum(gaps > SAME_POSITION_MM)])
    crowds = Counter(Counter(places.tolist()).values())
    if crowds.keys() != {1}:
        yield _crowding(crowds, images)
        return
    if uneven or is_even(heights):
        return
    missing = misses_slices(heights)
    if not missing and off_grid(heights[:, None]) <= grid_tolerance(_usual(gaps), ratio):
        return
    yield Fault(
        "missing slices" if missing else "uneven slices",
        f"{'Slices are missing' if missing else 'The slices are not evenly spaced'}: from one to the next it is"
        f" {gaps.min():.2f} to {gaps.max():.2f} mm",
        "even steps, unless its author allows others: "
        + ("Requires(uneven=True)" if missing else "Requires(spacing_tolerance=...) or Requires(uneven=True)"),
    )


def _usual(gaps: Vector) -> float:
    """The lower median, so that of two gaps the longer one is the hole."""
    return float(np.sort(gaps)[(len(gaps) - 1) // 2])


def misses_slices(heights: Vector) -> bool:
    """Return True if a gap between sorted slices is so wide that slices are missing in it."""
    gaps = np.diff(heights)
    return bool(gaps.max() >= MISSING_STEPS * _usual(gaps))


def is_even(heights: Vector) -> bool:
    """Return True if slices lie on an even grid as exactly as scanners mostly write it."""
    even = np.linspace(heights[0], heights[-1], len(heights))
    return bool(np.abs(heights - even).max() <= tolerance(heights))


def _crowding(crowds: Counter[int], images: Sequence[Instance]) -> Fault:
    """``crowds`` counts the positions by the number of images at each."""
    kinds, cure = _split(images)
    if len(crowds) == 1:
        (count, positions), *_ = crowds.items()
        found = f"There are {count} images at each of {positions} positions: {kinds}"
        return Fault("several images at each position", found, f"one of them: {cure}")
    several = sum(positions for count, positions in crowds.items() if count > 1)
    found = f"Slices are duplicate: {several} of {crowds.total()} positions hold several images, {kinds}"
    return Fault("duplicate slices", found, f"one at each: remove the others, or {cure}")


def _split(images: Sequence[Instance]) -> tuple[str, str]:
    """What images at one position are, and how to tell them apart."""
    if any(image.frames > 1 for image in images):
        return (
            "several time points, echoes or kinds in one multi-frame image",
            f"send the frames of one {_FRAME_KINDS} as an image of their own",
        )
    owned = [(image, image.header) for image in images]
    kinds = {keyword: kind for keyword, kind in KINDS.items() if len(first_of_each(owned, keyword)) > 1}
    if not kinds:
        return "several time points or phases", f"send the images of one {_TIMES}"
    return " and ".join(dict.fromkeys(kinds.values())), f"send the images of one {' and one '.join(kinds)}"


def shears(shifts: Vector, heights: Vector, tilt: float, *, ratio: float | None = None) -> Iterator[Fault]:
    """Check that the slices lie straight above each other; ``tilt`` in degrees is refused unless it is 0."""
    along = (heights - heights[0]) / max(heights[-1] - heights[0], EVEN_MM)
    drift = np.linalg.norm(shifts - np.outer(along, shifts[-1]), axis=1).max()
    step = float(heights[-1] - heights[0]) / max(len(heights) - 1, 1)
    if drift > max(tolerance(heights), grid_tolerance(step, ratio)):
        yield Fault(
            "shifted slices",
            f"The slices are shifted against each other within their planes, by up to {drift:.2f} mm",
            f"aligned slices: resample the series,{OR_IMAGES}",
        )
    elif tilt:
        yield Fault(
            "tilted gantry",
            f"The gantry was tilted by {tilt:.1f} degrees, so that the slices are sheared",
            "an upright one, unless its author allows others: Requires(allow_tilt=True)",
        )


def tolerance(heights: Vector) -> float:
    """mm that a slice may lie from the grid and still count as exactly on it."""
    return max(EVEN_MM, EVEN_RATIO * float(heights[-1] - heights[0]) / max(len(heights) - 1, 1))
