"""Segmentations as masks on the images that they name (PS3.3 A.51)."""

import io
from collections.abc import Iterator, Sequence

import numpy as np
from pydicom import Dataset

from gateway.contract.findings import Array, LabelMask, Mask, ProbabilityMask
from gateway.contract.sop_classes import SEGMENTATION, object_kind
from gateway.dicom.decoding.pixels import decode
from gateway.dicom.reading.attributes import number, text, unreadable, whole
from gateway.dicom.reading.files import read_header, read_whole, refusing
from gateway.dicom.reading.instances import Instance
from gateway.dicom.volumes.images import Image, Pixels, Volume, image, volume
from gateway.dicom.volumes.nifti_volumes import is_nifti, volume_of
from gateway.dicom.volumes.stack import Frame
from gateway.errors import StudyRefused

MAX_VOXELS = 1 << 31
"""Voxels of all segments of one object laid over their images: eight segments on 1,000 slices of 512 x 512."""

SegmentMask = Mask | ProbabilityMask | LabelMask


def read_object(data: bytes | memoryview) -> Dataset:
    """Read a whole DICOM file (PS3.10 7.1) in memory. Raises StudyRefused, LimitExceeded."""
    file = io.BytesIO(data)
    read_header(file)  # judges what is cut off
    file.seek(0)
    with refusing("A DICOM object in the answer is broken and cannot be read."):
        return read_whole(file)


def is_segmentation(dataset: Dataset) -> bool:
    """Return True for a segmentation, from which ``masks`` can be read."""
    return object_kind(text(dataset, "SOPClassUID")) is SEGMENTATION


def masks(data: bytes | memoryview, source: Sequence[Instance]) -> list[SegmentMask]:
    """Read the segments of a Segmentation as masks on the images that it names, found among ``source``.

    Bool for a binary segment, uint8 of 0 to 255 for a fractional one, uint8 of segment numbers for a label map; the
    axes are those of the images. Raises StudyRefused for an object that is broken, or images that ``source`` lacks.
    """
    dataset = read_object(data)
    with refusing("A segmentation does not say where its planes lie."):
        of = _lies_on(dataset, source)
        return [_mask(dataset, number, array, of) for number, array in _segments(dataset, data, of)]


def on_images(frames: Sequence[Frame], *, single: bool = False) -> Volume | Image | Pixels:
    """Return what a mask over these images lies on: a volume where they are one, else the images in their order.

    ``single`` is True for a mask without an axis of slices.
    """
    if is_nifti(first := frames[0][0]):
        return volume_of(first)
    if single and len(frames) == 1:
        return image(*frames[0])
    instances = list({id(one): one for one, _ in frames}.values())
    try:
        made = volume(instances, allow_tilt=True, uneven=True)
    except StudyRefused:
        return Pixels(tuple(frames))
    return made if _names(made.frames) == _names(frames) else Pixels(tuple(frames))


def _names(frames: Sequence[Frame]) -> set[tuple[int, int]]:
    return {(id(one), frame) for one, frame in frames}


def _lies_on(dataset: Dataset, source: Sequence[Instance]) -> Pixels:
    """The images of all instances that the object names, in the order of ``source``."""
    named = {
        text(item, "ReferencedSOPInstanceUID")
        for series in dataset.ReferencedSeriesSequence
        for item in series.ReferencedInstanceSequence
    }
    frames = [(one, frame) for one in source if one.sop_instance_uid in named for frame in range(one.frames)]
    if not frames or named - {one.sop_instance_uid for one, _ in frames}:
        raise StudyRefused("A segmentation lies on images that the study lacks.")
    return on_images(frames)


def _segments(dataset: Dataset, data: bytes | memoryview, of: Pixels) -> Iterator[tuple[int, Array]]:
    """The number of each segment, 0 for those of a label map, and its planes over the images."""
    kind, planes = text(dataset, "SegmentationType"), decode(io.BytesIO(data))
    planes = planes[None] if planes.ndim == 2 else planes
    places = {(one.sop_instance_uid, frame): index for index, (one, frame) in enumerate(of.frames)}
    numbers = [0] if kind == "LABELMAP" else [int(item.SegmentNumber) for item in dataset.SegmentSequence]
    shape = (len(of.frames), *planes.shape[1:])
    if len(numbers) * int(np.prod(shape)) > MAX_VOXELS:
        raise StudyRefused(f"A segmentation of more than {MAX_VOXELS} voxels is not unfolded.")
    laid = {number: np.zeros(shape, np.uint8) for number in numbers}
    for item, plane in zip(dataset.PerFrameFunctionalGroupsSequence, planes, strict=True):
        segment = 0 if kind == "LABELMAP" else int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        laid[segment][places[_source(item)]] = plane
    yield from laid.items()


def _source(item: Dataset) -> tuple[str, int]:
    """The image that a plane was made from."""
    reference = item.DerivationImageSequence[0].SourceImageSequence[0]
    return text(reference, "ReferencedSOPInstanceUID"), (whole(reference, "ReferencedFrameNumber") or 1) - 1


def _mask(dataset: Dataset, number_of: int, array: Array, of: Pixels) -> SegmentMask:
    labels = {int(item.SegmentNumber): text(item, "SegmentLabel") for item in dataset.SegmentSequence}
    if not number_of:
        return LabelMask(array, {key: name for key, name in labels.items() if key}, of=of)
    if text(dataset, "SegmentationType") == "FRACTIONAL":
        full = number(dataset, "MaximumFractionalValue")
        if not full:
            raise unreadable("MaximumFractionalValue", "is missing or 0")
        scaled = array if full == 255 else (array.astype(np.float32) / full).clip(0, 1)
        return ProbabilityMask(scaled, labels[number_of], of)
    return Mask(array.astype(bool), labels[number_of], of)
