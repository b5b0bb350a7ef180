"""Properties of which the images of a volume have one value each, compared over all of them.

A fault says what was found, what is needed and how to get it; it quotes nothing from a file but counts.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence

from gateway.dicom.reading.attributes import functional_group, text, value
from gateway.dicom.reading.instances import Instance
from gateway.dicom.reading.raw_values import different
from gateway.dicom.reading.redaction import digest_of, naming

Frame = tuple[Instance, int]
"""One image: its instance, and its frame counted from 0."""

GREY = {"MONOCHROME1", "MONOCHROME2"}

OR_IMAGES = " or a model of images instead"
"""The way out for what is no volume and never will be."""

_UNITS = ("RescaleType", "Units")
"""What rescaled values mean: PS3.3 C.11.1, and C.8.9.1 for PET."""


class Fault(NamedTuple):
    """A condition that is not met: what was ``found``, what a volume ``needed``, and the ``first`` image at fault.

    ``reason`` names it in the log.
    """

    reason: str
    found: str
    needed: str
    first: Instance | None = None

    @property
    def sentence(self) -> str:
        """The fault in words, its image by its digest."""
        where = (
            f" The first such image is that whose sha256 begins with {digest_of(self.first.source)}."
            if self.first
            else ""
        )
        return f"{self.found}; a volume needs {self.needed}.{where}"


class Shared(NamedTuple):
    """Attributes of which a volume has one value each.

    With ``if_stated``, an image without one contradicts no other.
    """

    keywords: tuple[str, ...]
    reason: str
    found: str
    needed: str
    if_stated: bool = False


SHARED = (
    Shared(
        ("SeriesInstanceUID",),
        "several series",
        "The images belong to {count} series (SeriesInstanceUID)",
        "one: send each series by itself",
    ),
    Shared(
        ("StudyInstanceUID",),
        "several studies",
        "The images belong to {count} studies (StudyInstanceUID)",
        "one: send each study by itself",
    ),
    Shared(
        ("FrameOfReferenceUID",),
        "several frames of reference",
        "The images belong to {count} frames of reference (FrameOfReferenceUID); their places cannot be compared",
        "one: send the images of each as a series of their own",
    ),
    Shared(
        ("Rows", "Columns"),
        "several sizes",
        "The images differ in rows or columns",
        "images of one size: send those of each size as a series of their own",
    ),
    Shared(
        ("Laterality", "ImageLaterality"),
        "several sides",
        "The images are of different sides of the body (Laterality, ImageLaterality)",
        "one side: send the images of each as a series of their own",
        if_stated=True,
    ),
)
"""A row for each property that one image states for all."""


def group(frame: Frame, macro: str) -> Dataset:
    """The functional group of a frame; the header itself where there is none. Raises StudyRefused."""
    with naming(frame[0].source):
        return functional_group(frame[0].header, macro, frame[1])


def first_of_each(owned: Iterable[tuple[Instance, Dataset]], keyword: str) -> dict[str, Instance]:
    """The first image with each value of an attribute; absent is one of them."""
    owners = {id(dataset): (image, dataset) for image, dataset in owned}
    firsts: dict[str, Instance] = {}
    for dataset in different((dataset for _, dataset in owners.values()), keyword):
        firsts.setdefault(text(dataset, keyword), owners[id(dataset)][0])
    return firsts


def _second(firsts: Mapping[str, Instance]) -> Instance:
    """The first image that is not as those before it, of several."""
    return list(firsts.values())[1]


def mixtures(images: Sequence[Instance]) -> Iterator[Fault]:
    """Yield the properties that differ among images and must not in a volume."""
    if not images:
        yield Fault("no images", "There are no images", "at least one")
        return
    for row in SHARED:
        for keyword in row.keywords:
            firsts = first_of_each(((image, image.header) for image in images), keyword)
            if row.if_stated:
                firsts.pop("", None)
            if len(firsts) > 1:
                found = row.found.format(count=len(firsts))
                yield Fault(row.reason, found, row.needed, _second(firsts))
                break
    yield from _unplaced_frames(images)
    yield from _identities(images)
    yield from _greys(images)


def _unplaced_frames(images: Sequence[Instance]) -> Iterator[Fault]:
    unplaced = [image for image in images if image.frames > 1 and _places(image) != image.frames]
    if unplaced:
        yield Fault(
            "frames without a place",
            "An image of several frames does not say where each of them lies",
            f"a place for each (PlanePositionSequence),{OR_IMAGES}",
            unplaced[0],
        )


def _identities(images: Sequence[Instance]) -> Iterator[Fault]:
    unnamed = [image for image in images if not image.sop_instance_uid]
    if unnamed and len(images) > 1:
        yield Fault(
            "no SOPInstanceUID",
            f"{len(unnamed)} images have no SOPInstanceUID (0008,0018)",
            "one for each image: export them again",
            unnamed[0],
        )
    counts = Counter(image.sop_instance_uid for image in images if image.sop_instance_uid)
    if repeated := counts.total() - len(counts):
        twin = next(image for image in images if counts[image.sop_instance_uid] > 1)
        found = f"{repeated} images have the SOP Instance UID of another"
        yield Fault("SOPInstanceUID of another", found, "each image once, under a UID of its own", twin)


def _greys(images: Sequence[Instance]) -> Iterator[Fault]:
    meanings = first_of_each(((image, image.header) for image in images), "PhotometricInterpretation")
    coloured = [image for meaning, image in meanings.items() if meaning not in GREY]
    if coloured:
        yield Fault(
            "no grey values",
            "The images are in colour, or hold no grey values (PhotometricInterpretation)",
            f"MONOCHROME1 or MONOCHROME2,{OR_IMAGES}",
            coloured[0],
        )
    elif len(meanings) > 1:
        yield Fault(
            "several photometric interpretations",
            "In some images the largest value is black, in others it is white (PhotometricInterpretation)",
            "one of the two: send the images of each as a series of their own",
            _second(meanings),
        )


def values(frames: Sequence[Frame]) -> Iterator[Fault]:
    """Check the meaning of the frames' values. A rescale for each frame is usual in PET, and right."""
    groups = [(frame[0], group(frame, "PixelValueTransformationSequence")) for frame in frames]
    for keyword in _UNITS:
        if len(firsts := first_of_each(groups, keyword)) > 1:
            yield Fault(
                "several units",
                f"The values of the images are in different units ({keyword})",
                "one unit: send the images of each as a series of their own",
                _second(firsts),
            )
            return


def _places(image: Instance) -> int:
    """The number of frames that have functional groups of their own."""
    items = value(image.header, "PerFrameFunctionalGroupsSequence")
    return len(items) if isinstance(items, DicomSequence) else 0
