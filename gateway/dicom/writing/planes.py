"""Per-frame functional groups of a derived object: each plane on exactly the source frame that it was made from.

highdicom makes the object with one plane; the planes are then laid out here, in a time that grows with their number
and not with that of the segments times the voxels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pydicom import DataElement, Dataset

from gateway.dicom.reading.attributes import value
from gateway.dicom.volumes.stack import Frame
from gateway.dicom.writing.source_frames import is_placed, position, reference, referenced_series

Coding = tuple[str, str, str]
"""Value, scheme and meaning of a code (PS3.3 8.8)."""

_OF_A_PLANE = (
    "PlanePositionSequence", "SegmentIdentificationSequence", "FrameContentSequence", "DerivationImageSequence",
)  # fmt: skip
_PURPOSE_CODE = ("121322", "DCM", "Source image for image processing operation")


@dataclass(frozen=True)
class Plane:
    """A plane of an object: the index of its source frame, and its segment, or 0 for an object without segments."""

    index: int
    segment: int = 0


def lay_out(dataset: Dataset, planes: Sequence[Plane], frames: Sequence[Frame], derivation: Coding) -> None:
    """Replace groups, references and number of frames of the dataset by those of ``planes``."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for keyword in _OF_A_PLANE:
        shared.pop(keyword, None)
    for keyword in ("DimensionOrganizationType", "SourceImageSequence"):
        dataset.pop(keyword, None)
    if not is_placed(frames[0]):
        dataset.PatientOrientation = value(frames[0][0].header, "PatientOrientation") or []
    dimensions = len(dataset.DimensionIndexSequence)
    dataset.PerFrameFunctionalGroupsSequence = list(_groups(planes, frames, dimensions, derivation))
    dataset.NumberOfFrames = len(planes)
    dataset.ReferencedSeriesSequence = referenced_series(frames)


def content(planes: Sequence[Plane], frames: Sequence[Frame]) -> bytes:
    """Return bytes that distinguish these planes from others, for the UIDs of their object."""
    names = [(instance.sop_instance_uid, frame) for instance, frame in frames]
    return repr((names, [(plane.segment, plane.index) for plane in planes])).encode()


def _groups(planes: Sequence[Plane], frames: Sequence[Frame], dimensions: int, derivation: Coding) -> Iterator[Dataset]:
    """The items of the planes. Planes of one frame, and those of one segment, share the elements that state it."""
    purpose = _sequence("PurposeOfReferenceCodeSequence", coded(_PURPOSE_CODE))
    code = _sequence("DerivationCodeSequence", coded(derivation))
    of_frame = _once(lambda index: _of_frame(frames[index], purpose, code))
    of_segment = _once(_of_segment)
    for plane in planes:
        group, frame_content = Dataset(), Dataset()
        # Dimension Index Values (PS3.3 C.7.6.17): the segment, if there are any, then the place in the stack
        frame_content.DimensionIndexValues = [*([plane.segment] if plane.segment else []), plane.index + 1][:dimensions]
        group.FrameContentSequence = [frame_content]
        for element in (*of_frame(plane.index), *of_segment(plane.segment)):
            group[element.tag] = element
        yield group


def _once(make: Callable[[int], list[DataElement]]) -> Callable[[int], list[DataElement]]:
    made: dict[int, list[DataElement]] = {}

    def get(number: int) -> list[DataElement]:
        if number not in made:
            made[number] = make(number)
        return made[number]

    return get


def _of_frame(frame: Frame, purpose: DataElement, derivation: DataElement) -> list[DataElement]:
    """The source frame and the derivation of a plane (PS3.3 C.7.6.16.2.6), and its position."""
    source, derived = reference(frame), Dataset()
    source.SpatialLocationsPreserved = "YES"
    source[purpose.tag] = purpose
    derived.SourceImageSequence = [source]
    derived[derivation.tag] = derivation
    found = [_sequence("DerivationImageSequence", derived)]
    if is_placed(frame):
        place = Dataset()
        place.ImagePositionPatient = position(frame)
        found.append(_sequence("PlanePositionSequence", place))
    return found


def _of_segment(number: int) -> list[DataElement]:
    segment = Dataset()
    segment.ReferencedSegmentNumber = number
    return [_sequence("SegmentIdentificationSequence", segment)] if number else []


def _sequence(keyword: str, item: Dataset) -> DataElement:
    holder = Dataset()
    setattr(holder, keyword, [item])
    return holder[keyword]


def coded(code: Coding) -> Dataset:
    """Return a code sequence item (PS3.3 8.8) of a value, a scheme and a meaning."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
    return item
