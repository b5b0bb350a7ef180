"""Checks of an object before it is sent: required attributes, references, and the places of its planes.

They find faults of the gateway itself; they do not validate an object by the standard.
"""

from collections.abc import Iterator, Sequence

from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    BasicTextSRStorage,
    ColorSoftcopyPresentationStateStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from gateway.contract.sop_classes import LABEL_MAP_STORAGE
from gateway.dicom.reading.instances import Instance
from gateway.dicom.volumes.stack import Frame
from gateway.dicom.writing.source_frames import is_placed, position
from gateway.errors import AnswerInvalid

_ALL = (
    "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality SeriesNumber InstanceNumber Manufacturer "
    "SoftwareVersions ContentQualification ContributingEquipmentSequence InstanceCreationDate InstanceCreationTime"
)
_IMAGE = "Rows Columns SamplesPerPixel PhotometricInterpretation BitsAllocated"
_PLANES = (
    "ContentDate ContentTime ContentLabel NumberOfFrames DimensionOrganizationSequence DimensionIndexSequence "
    "SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence ReferencedSeriesSequence"
)
_PRESENTATION = (
    "PresentationCreationDate PresentationCreationTime ContentLabel ReferencedSeriesSequence "
    "DisplayedAreaSelectionSequence GraphicAnnotationSequence GraphicLayerSequence"
)
_REPORT = (
    "ContentDate ContentTime CompletionFlag VerificationFlag ValueType ConceptNameCodeSequence ContentSequence "
    "CurrentRequestedProcedureEvidenceSequence"
)
REQUIRED: dict[str, tuple[str, ...]] = {
    uid: tuple(f"{_ALL} {more}".split())
    for uid, more in {
        SegmentationStorage: f"{_IMAGE} {_PLANES} PixelData SegmentationType SegmentSequence SegmentsOverlap",
        LABEL_MAP_STORAGE: f"{_IMAGE} {_PLANES} PixelData SegmentationType SegmentSequence",
        ParametricMapStorage: f"{_IMAGE} {_PLANES}",
        SecondaryCaptureImageStorage: f"{_IMAGE} PixelData ConversionType",
        GrayscaleSoftcopyPresentationStateStorage: f"{_PRESENTATION} PresentationLUTShape",
        ColorSoftcopyPresentationStateStorage: f"{_PRESENTATION} ICCProfile",
        BasicTextSRStorage: _REPORT,
        ComprehensiveSRStorage: _REPORT,
        Comprehensive3DSRStorage: _REPORT,
    }.items()
}
"""Attributes of type 1 by SOP Class (PS3.3 A.8.1, A.33, A.35.1, A.35.3, A.35.13, A.51, A.75)."""


def check(dataset: Dataset, source: Sequence[Instance], frames: Sequence[Frame] = ()) -> None:
    """Check an object made from ``source``, its planes on ``frames``. Raises AnswerInvalid with all faults."""
    faults = [*_missing(dataset)]
    if not faults:
        known = {one.sop_instance_uid for one in source} | {one.sop_instance_uid for one, _ in frames}
        faults = [*_strangers(dataset, known), *(_misplaced(dataset, frames) if frames else ())]
    if faults:
        raise AnswerInvalid("", f"A DICOM object is not valid: {' '.join(faults)}")


def _missing(dataset: Dataset) -> Iterator[str]:
    for keyword in REQUIRED[dataset.SOPClassUID]:
        if keyword not in dataset or dataset[keyword].is_empty:
            yield f"It has no {keyword}."


def _strangers(dataset: Dataset, known: set[str]) -> Iterator[str]:
    strangers = {uid for uid in _references(dataset) if uid not in known}
    if strangers:
        yield f"It refers to {len(strangers)} instances that are not in the request."


def _references(dataset: Dataset) -> Iterator[str]:
    """Yield the instances named anywhere but in the groups of each plane, which have a check of their own."""
    for element in dataset:
        if element.keyword == "ReferencedSOPInstanceUID":
            yield str(element.value)
        elif isinstance(element.value, DicomSequence) and element.keyword != "PerFrameFunctionalGroupsSequence":
            for item in element.value:
                yield from _references(item)


def _misplaced(dataset: Dataset, frames: Sequence[Frame]) -> Iterator[str]:
    groups = dataset.PerFrameFunctionalGroupsSequence
    if dataset.NumberOfFrames != len(groups):
        yield "It has another number of planes than of their descriptions."
    size = dataset.Rows, dataset.Columns
    if size != (frames[0][0].rows, frames[0][0].columns):
        yield "Its planes have another size than their images."
    bits = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * dataset.BitsAllocated * len(groups)
    pixels = dataset.get("PixelData") or dataset.get("FloatPixelData") or b""
    if len(pixels) != -(-bits // 16) * 2:
        yield "Its pixels have another length than its planes need."
    segments = len(dataset.get("SegmentSequence", ())) or None
    places = {(one.sop_instance_uid, frame): index for index, (one, frame) in enumerate(frames)}
    placed = [position(frame) if is_placed(frame) else None for frame in frames]
    wrong = sum(not _fits(group, places, placed, segments) for group in groups)
    if wrong:
        yield f"{wrong} of its planes do not lie on the images that they name."


def _fits(group: Dataset, places: dict[tuple[str, int], int], placed: list[object], segments: int | None) -> bool:
    """Return True if a plane names one of the images, has its position, and a segment that is described."""
    source = group.DerivationImageSequence[0].SourceImageSequence[0]
    index = places.get((source.ReferencedSOPInstanceUID, int(source.get("ReferencedFrameNumber", 1)) - 1))
    if index is None:
        return False
    at = group.PlanePositionSequence[0].ImagePositionPatient if "PlanePositionSequence" in group else None
    if segments is None or "SegmentIdentificationSequence" not in group:  # a label map says it in each pixel
        return at == placed[index]
    return at == placed[index] and 1 <= group.SegmentIdentificationSequence[0].ReferencedSegmentNumber <= segments
