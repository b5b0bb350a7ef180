"""The source frames that a finding lies on: references to them, and stand-ins for them."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import CTImageStorage, SecondaryCaptureImageStorage
from pydicom.valuerep import DSfloat

from gateway.dicom.reading.attributes import number, text, value
from gateway.dicom.reading.geometry import normal, stated_spacing
from gateway.dicom.reading.instances import Instance
from gateway.dicom.reading.redaction import naming
from gateway.dicom.volumes.stack import Frame, group, place
from gateway.dicom.writing.provenance import PENDING, Stamp
from gateway.errors import AnswerInvalid

THICKNESS_MM = 1.0
"""Of one slice that does not state its thickness, as in ``geometry.affine``; derived objects must state it."""


def frames_of(of: Any, source: Sequence[Instance]) -> tuple[Frame, ...]:
    """Return the frames that a finding lies on, in the order of its slices. Raises AnswerInvalid if it has none."""
    if of is None and len(source) == 1 and source[0].frames == 1:
        return ((source[0], 0),)
    found: tuple[Frame, ...] = tuple(getattr(of, "frames", ()))
    if not found:
        raise AnswerInvalid("", "A finding does not say which images it lies on; give it of=.")
    return found


def frame_of(finding: Any, source: Sequence[Instance]) -> Frame:
    """Return the frame of a box or a length, the first where it lies on every frame of its image.

    Raises AnswerInvalid where it names no slice, or one that does not exist.
    """
    frames = frames_of(finding.of, source)
    index = 0 if finding.slice is None and (len(frames) == 1 or _is_image(finding.of)) else finding.slice
    if index is None or not 0 <= index < len(frames):
        raise AnswerInvalid("", f"A finding needs the slice it lies on: slice=0 to {len(frames) - 1}.")
    return frames[index]


def is_on_every_frame(finding: Any) -> bool:
    """Return True for a box or a length on all frames of one image, which then needs no frame number (PS3.3 10.3)."""
    return finding.slice is None and _is_image(finding.of) and len(finding.of.frames) > 1


def _is_image(of: Any) -> bool:
    return hasattr(of, "instance")


def is_placed(frame: Frame) -> bool:
    """Return True if a frame states its place in the patient and the size of its pixels."""
    one = place(frame)
    return one.position is not None and one.orientation is not None and spacing_mm(frame) is not None


def frame_of_reference(instance: Instance, stamp: Stamp) -> str:
    """The frame of reference of an image; one made for its series where it has none (PS3.3 C.7.4.1)."""
    return text(instance.header, "FrameOfReferenceUID") or stamp.uid("frame of reference", instance.series_instance_uid)


def gap(frames: Sequence[Frame]) -> float | None:
    """Return the mm from slice to slice along the normal, or None for one slice."""
    if len(frames) < 2:
        return None
    first, last = place(frames[0]), place(frames[-1])
    assert first.position is not None and last.position is not None and first.orientation is not None
    return float(abs((last.position - first.position) @ normal(first.orientation)) / (len(frames) - 1))


def position(frame: Frame) -> Any:
    """Image Position (Patient) exactly as the source has it."""
    return value(group(frame, "PlanePositionSequence"), "ImagePositionPatient")


def stand_in(frame: Frame, stamp: Stamp, *, between: float | None = None) -> Dataset:
    """Return one frame as an image of one frame, without its patient: the attributes that highdicom reads.

    It lacks the oddities of a source, which highdicom would refuse or warn of; ``Stamp.finish`` copies the patient.
    """
    instance, _ = frame
    dataset = Dataset()
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex"):
        setattr(dataset, keyword, "")
    for keyword in ("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"):
        setattr(dataset, keyword, "")
    dataset.SOPClassUID, dataset.Modality = SecondaryCaptureImageStorage, "OT"
    dataset.SOPInstanceUID = instance.sop_instance_uid or PENDING
    dataset.SeriesInstanceUID = instance.series_instance_uid or PENDING
    dataset.StudyInstanceUID = text(instance.header, "StudyInstanceUID") or PENDING
    dataset.Rows, dataset.Columns = instance.rows, instance.columns
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    if is_placed(frame):
        dataset.update(_geometry(frame, stamp, between))
    return dataset


def _geometry(frame: Frame, stamp: Stamp, between: float | None) -> Dataset:
    measures, dataset = group(frame, "PixelMeasuresSequence"), Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.FrameOfReferenceUID = frame_of_reference(frame[0], stamp)
    dataset.PositionReferenceIndicator = ""
    dataset.ImagePositionPatient = deepcopy(position(frame))
    orientation = value(group(frame, "PlaneOrientationSequence"), "ImageOrientationPatient")
    dataset.ImageOrientationPatient = deepcopy(orientation)
    dataset.PixelSpacing = deepcopy(value(measures, "PixelSpacing"))
    if between is not None:
        dataset.SpacingBetweenSlices = DSfloat(between, auto_format=True)
    with naming(frame[0].source):
        thickness = number(measures, "SliceThickness") or between or THICKNESS_MM
    dataset.SliceThickness = DSfloat(thickness, auto_format=True)
    return dataset


def reference(frame: Frame) -> Dataset:
    """Return an item that names a frame (PS3.3 C.7.6.16.2.1.1); the number only where there are several."""
    item = Dataset()
    item.ReferencedSOPClassUID = text(frame[0].header, "SOPClassUID")
    item.ReferencedSOPInstanceUID = frame[0].sop_instance_uid
    if frame[0].frames > 1:
        item.ReferencedFrameNumber = frame[1] + 1
    return item


def referenced_series(frames: Sequence[Frame]) -> list[Dataset]:
    """Return items for Referenced Series Sequence (PS3.3 C.12.1.2), each instance once."""
    series: dict[str, dict[str, Dataset]] = {}
    for instance in {id(instance): instance for instance, _ in frames}.values():
        item = reference((instance, 0))
        item.pop("ReferencedFrameNumber", None)
        series.setdefault(instance.series_instance_uid, {})[instance.sop_instance_uid] = item
    found = []
    for uid, instances in series.items():
        one = Dataset()
        one.SeriesInstanceUID, one.ReferencedInstanceSequence = uid, list(instances.values())
        found.append(one)
    return found


def name_classes(dataset: Dataset, classes: Mapping[str, str]) -> None:
    """Give each reference to an instance its true SOP Class, which its stand-in did not have."""
    for element in dataset:
        if isinstance(element.value, DicomSequence):
            for item in element.value:
                name_classes(item, classes)
    known = classes.get(str(dataset.get("ReferencedSOPInstanceUID", "")))
    if known:
        dataset.ReferencedSOPClassUID = known


def classes_of(instances: Sequence[Instance]) -> dict[str, str]:
    """SOP Class UIDs by SOP Instance UID."""
    return {one.sop_instance_uid: text(one.header, "SOPClassUID") for one in instances}


def spacing_mm(frame: Frame) -> Any:
    """(2,) mm between rows, between columns, or None. Raises StudyRefused as ``geometry.stated_spacing``."""
    with naming(frame[0].source):
        return stated_spacing(group(frame, "PixelMeasuresSequence"))
