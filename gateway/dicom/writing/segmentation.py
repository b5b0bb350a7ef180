"""Masks as Segmentation objects (PS3.3 A.51): binary, fractional for probabilities, or a label map."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes

from gateway.contract.findings import Array, Code, Coded, Label, LabelMask, Mask, ProbabilityMask, as_uint8
from gateway.dicom.volumes.stack import Frame
from gateway.dicom.writing import planes
from gateway.dicom.writing.planes import Plane
from gateway.dicom.writing.provenance import Stamp, code_of, line
from gateway.dicom.writing.source_frames import gap, stand_in
from gateway.errors import AnswerInvalid

Bits = NDArray[np.uint8]
"""(slice, byte): each plane as bits, the first pixel in the lowest (PS3.5 8.1.1), filled up to whole bytes; or as
fractions, one byte each."""

DERIVATION = ("113076", "DCM", "Segmentation")
FULL = 255
"""Maximum Fractional Value: that of a probability of 1."""

_CATEGORIES = {
    "CID7194": codes.SCT.MorphologicallyAbnormalStructure,
    "CID7192": codes.SCT.AnatomicalStructure,
    "CID7191": codes.SCT.Tissue,
    "CID7193": codes.SCT.PhysicalObject,
    "CID7197": codes.SCT.BodySubstance,
    "CID7195": codes.SCT.Function,
    "CID4": codes.SCT.AnatomicalStructure,
}
"""The category (CID 7150) of the types that each context group lists (PS3.16, CID 7191 to 7198 and 4)."""

_NEUTRAL = codes.SCT.SpatialAndRelationalConcept


@dataclass(frozen=True)
class Segment:
    """A region of its own: its name, its code, and its voxels as they are written, (slice, byte)."""

    label: str
    code: Coded | None
    voxels: Bits


def binary(masks: Sequence[Mask | LabelMask], frames: Sequence[Frame], stamp: Stamp) -> Dataset:
    """Return one BINARY SEG of masks on the same ``frames``: a segment for each mask or label."""
    segments = [segment for mask in masks for segment in _binary_segments(mask, len(frames))]
    found = np.stack([each.voxels for each in segments])
    dataset = _skeleton(segments, frames, stamp, "BINARY")
    dataset.SegmentsOverlap = "YES" if overlap(found) else "NO"
    laid = _occupied(found)
    occupied_planes = np.concatenate([found[plane.segment - 1, plane.index][None] for plane in laid])
    pixels = frames[0][0].rows * frames[0][0].columns
    if pixels % 8:
        occupied_planes = np.packbits(
            np.unpackbits(occupied_planes, axis=1, count=pixels, bitorder="little"), bitorder="little"
        )
    return _finished(dataset, segments, laid, frames, stamp, occupied_planes.tobytes())


def fractional(masks: Sequence[ProbabilityMask], frames: Sequence[Frame], stamp: Stamp) -> Dataset:
    """Return one FRACTIONAL SEG of probabilities, 0 to 255 for 0 to 1, of masks on the same ``frames``."""
    segments = [Segment(each.label, each.code, _fractions(each).reshape(len(frames), -1)) for each in masks]
    dataset = _skeleton(segments, frames, stamp, "FRACTIONAL")
    dataset.SegmentsOverlap = "UNDEFINED" if len(segments) > 1 else "NO"
    laid = _occupied(segment.voxels for segment in segments)
    data = b"".join(segments[plane.segment - 1].voxels[plane.index].tobytes() for plane in laid)
    return _finished(dataset, segments, laid, frames, stamp, data)


def label_map(mask: LabelMask, frames: Sequence[Frame], stamp: Stamp) -> Dataset:
    """Return one LABELMAP SEG (PS3.3 A.51) of 8 bits: each voxel is its segment's number, or 0."""
    named = sorted((value, _label(label)) for value, label in mask.labels.items())
    if not named:
        raise AnswerInvalid("", "A label mask names no label.")
    segments = [Segment(label.name, label.code, np.empty((0, 0), np.uint8)) for _, label in named]
    numbers = np.zeros(256, np.uint8)
    numbers[[value for value, _ in named]] = range(1, len(named) + 1)
    voxels = numbers[mask.array].reshape(len(frames), -1)
    occupied = np.flatnonzero(voxels.any(axis=1)).tolist() or [0]
    dataset = _skeleton(segments, frames, stamp, "LABELMAP")
    laid = [Plane(index) for index in occupied]
    return _finished(dataset, segments, laid, frames, stamp, voxels[occupied].tobytes())


def pack(voxels: Array, slices: int) -> Bits:
    """Return bool, or 0 and 1, of any shape as the bits of ``slices`` planes."""
    return np.packbits(voxels.reshape(slices, -1), axis=1, bitorder="little")


def overlap(segments: NDArray[np.uint8]) -> bool:
    """Return True if any voxel is in two of (segment, slice, byte)."""
    union = segments[0].copy()
    for bits in segments[1:]:
        if np.bitwise_and(union, bits).any():
            return True
        union |= bits
    return False


def category(code: Coded | None) -> Code:
    """Return the category of a segment (CID 7150) by its code, a neutral one for other codes."""
    named = (code.value, code.scheme_designator) if code is not None else None
    found = next((kind for context, kind in _CATEGORIES.items() if named in _concepts(context)), _NEUTRAL)
    return Code(found.value, found.scheme_designator, found.meaning)


@cache
def _concepts(context: str) -> frozenset[tuple[str, str]]:
    return frozenset((one.value, one.scheme_designator) for one in getattr(codes, context).concepts.values())


def _binary_segments(mask: Mask | LabelMask, slices: int) -> list[Segment]:
    if isinstance(mask, Mask):
        return [Segment(mask.label, mask.code, pack(mask.array, slices))]
    named = [(value, _label(label)) for value, label in mask.labels.items()]
    if not named:
        raise AnswerInvalid("", "A label mask names no label.")
    return [Segment(label.name, label.code, pack(mask.array == value, slices)) for value, label in sorted(named)]


def _label(label: str | Label) -> Label:
    return label if isinstance(label, Label) else Label(str(label))


def _fractions(mask: ProbabilityMask) -> NDArray[np.uint8]:
    try:
        return as_uint8(mask.array)
    except ValueError as error:
        raise AnswerInvalid("", f"A probability mask {error}.") from None


def _occupied(segments: Iterable[Array]) -> list[Plane]:
    """The planes with a voxel. An empty segment has its first plane, which states that nothing was found."""
    laid = []
    for number, voxels in enumerate(segments, start=1):
        occupied = np.flatnonzero(voxels.any(axis=1)).tolist() or [0]
        laid += [Plane(index, number) for index in occupied]
    return laid


def _skeleton(segments: Sequence[Segment], frames: Sequence[Frame], stamp: Stamp, kind: str) -> Dataset:
    """highdicom's object of these segments with one plane, which is replaced."""
    from highdicom.seg import Segmentation

    source = stand_in(frames[0], stamp, between=gap(frames))
    blank = np.zeros((1, source.Rows, source.Columns), np.uint8)
    with_segment = blank if kind != "FRACTIONAL" else np.zeros((*blank.shape, len(segments)), np.float32)
    made = Segmentation(
        source_images=[source],
        pixel_array=with_segment,
        segmentation_type=kind,
        segment_descriptions=_descriptions(segments, stamp),
        omit_empty_frames=False,
        max_fractional_value=FULL,
        content_label="SEGMENTATION",
        content_description="",
        **stamp.placeholders,
    )
    return Dataset(made)


def _descriptions(segments: Sequence[Segment], stamp: Stamp) -> list[Any]:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept

    algorithm = AlgorithmIdentificationSequence(
        name=stamp.model, family=codes.DCM.ArtificialIntelligence, version=stamp.version
    )
    return [
        SegmentDescription(
            segment_number=number,
            segment_label=line(segment.label) or f"Segment {number}",
            segmented_property_category=CodedConcept(*category(segment.code)),
            segmented_property_type=CodedConcept(*code_of(segment.label or f"Segment {number}", segment.code)),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for number, segment in enumerate(segments, start=1)
    ]


def _finished(
    dataset: Dataset, segments: Sequence[Segment], laid: list[Plane], frames: Sequence[Frame], stamp: Stamp, data: bytes
) -> Dataset:
    dataset.setdefault("ContentCreatorName", None)  # of type 2 (PS3.3 10.9), and nobody's here
    planes.lay_out(dataset, laid, frames, DERIVATION)
    dataset.add_new("PixelData", "OB", data + bytes(len(data) % 2))
    names = ", ".join(segment.label for segment in segments if segment.label)
    return stamp.finish(dataset, names or "Segmentation", content=[planes.content(laid, frames), dataset.PixelData])
