"""Boxes, lengths, classifications and measurements as one Structured Report (PS3.16 TID 1500)."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import SecondaryCaptureImageStorage

from gateway.contract.findings import BoundingBox, Classification, Code, Coded, LinearMeasurement, StructuredReport
from gateway.dicom.reading.instances import Instance
from gateway.dicom.volumes.stack import Frame
from gateway.dicom.writing.presentation import draw
from gateway.dicom.writing.provenance import Stamp, code_of, line
from gateway.dicom.writing.source_frames import classes_of, frame_of_reference, name_classes, spacing_mm, stand_in
from gateway.dicom.writing.units import unit_code
from gateway.errors import AnswerInvalid

Measured = BoundingBox | LinearMeasurement | Classification | StructuredReport

PIXELS = Code("{pixels}", "UCUM", "pixels")
PROCEDURE = Code("18748-4", "LN", "Diagnostic imaging study")
MILLIMETRE = Code("mm", "UCUM", "millimeter")
NO_UNIT = Code("1", "UCUM", "no units")
YES, NO = Code("373066001", "SCT", "Yes"), Code("373067005", "SCT", "No")

_OF_A_DOCUMENT = ("series_instance_uid", "series_number", "sop_instance_uid", "instance_number", "manufacturer")


def report(findings: Sequence[Measured], source: Sequence[Instance], stamp: Stamp) -> Dataset:
    """Return one Comprehensive SR of ``findings``, a Comprehensive 3D SR if one of them is placed in the patient."""
    from highdicom.sr import Comprehensive3DSR, ComprehensiveSR, MeasurementReport

    groups = [_group(finding, number, source, stamp) for number, finding in enumerate(findings, start=1)]
    content = MeasurementReport(
        observation_context=observer(stamp),
        procedure_reported=_coded(PROCEDURE),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    solid = any(isinstance(finding, LinearMeasurement) and len(finding.start) == 3 for finding in findings)
    dataset = document(Comprehensive3DSR if solid else ComprehensiveSR, content, source, stamp)
    names = ", ".join(filter(None, (getattr(finding, "label", "") for finding in findings)))
    return stamp.finish(dataset, names or "Measurements")


def document(kind: Callable[..., Dataset], content: Any, source: Sequence[Instance], stamp: Stamp) -> Dataset:
    """Return an SR document of one of highdicom's classes, complete and unverified, with ``source`` as its evidence."""
    instances = {one.sop_instance_uid: one for one in source}
    who = stamp.placeholders
    dataset = Dataset(
        kind(
            evidence=[stand_in((one, 0), stamp) for one in instances.values()],
            content=content,
            is_complete=True,
            is_final=False,
            **{name: who[name] for name in _OF_A_DOCUMENT},
        )
    )
    dataset.PerformedProcedureCodeSequence = []
    name_classes(dataset, classes_of(list(instances.values())))
    return dataset


def _coded(code: Code) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(*code)


def observer(stamp: Stamp) -> Any:
    """Return the model as the device that observed (TID 1001, 1002)."""
    from highdicom.sr import DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext

    who = stamp.placeholders
    device = DeviceObserverIdentifyingAttributes(
        uid=stamp.uid("device"),
        name=stamp.model,
        manufacturer_name=who["manufacturer"],
        model_name=stamp.model,
        serial_number=who["device_serial_number"],
    )
    return ObservationContext(observer_device_context=ObserverContext(codes.DCM.Device, device))


def _group(finding: Measured, number: int, source: Sequence[Instance], stamp: Stamp) -> Any:
    from highdicom.sr import AlgorithmIdentification, TrackingIdentifier

    label = line(getattr(finding, "label", "")) or f"{type(finding).__name__} {number}"
    common = {
        "tracking_identifier": TrackingIdentifier(
            uid=stamp.uid("tracking", str(number), repr(_place(finding))), identifier=label
        ),
        "algorithm_id": AlgorithmIdentification(name=stamp.model, version=stamp.version),
    }
    if isinstance(finding, Classification):
        return _classification(finding, common)
    if isinstance(finding, StructuredReport):
        return _measurements(finding, common)
    common["finding_type"] = _coded(code_of(label, finding.code))
    if isinstance(finding, LinearMeasurement) and len(finding.start) == 3:
        return _length_in_patient(finding, source, stamp, common)
    return _region(finding, source, common)


def _place(finding: Measured) -> tuple[Any, ...]:
    """The values that distinguish a finding from that of the same number in another answer."""
    if isinstance(finding, BoundingBox):
        return finding.label, finding.top_left, finding.bottom_right, finding.slice
    if isinstance(finding, LinearMeasurement):
        return finding.label, finding.start, finding.end, finding.slice
    return (finding.labels if isinstance(finding, Classification) else finding.content,)


def _region(finding: BoundingBox | LinearMeasurement, source: Sequence[Instance], common: dict[str, Any]) -> Any:
    """A box or a length as a line on its image (TID 1410)."""
    from highdicom.sr import ImageRegion, PlanarROIMeasurementsAndQualitativeEvaluations, SourceImageForRegion

    drawn = draw(finding, source)
    assert drawn is not None
    instance, _ = drawn.frame
    region = ImageRegion(
        graphic_type="POLYLINE",
        graphic_data=drawn.points,
        source_image=SourceImageForRegion(
            SecondaryCaptureImageStorage,  # replaced by name_classes: highdicom refuses retired and private ones
            instance.sop_instance_uid,
            None if drawn.frame_number is None else [drawn.frame_number],
        ),
    )
    lengths = [_length(finding, drawn.frame)] if isinstance(finding, LinearMeasurement) else None
    return PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, measurements=lengths, **common)


def _length(finding: LinearMeasurement, frame: Frame) -> Any:
    """The length in mm where the image states the size of its pixels, else in pixels."""
    columns, rows = np.subtract(finding.end, finding.start)
    spacing = spacing_mm(frame)
    if spacing is None:
        return _measurement(codes.SCT.Length, math.hypot(columns, rows), PIXELS)
    return _measurement(codes.SCT.Length, math.hypot(rows * spacing[0], columns * spacing[1]), MILLIMETRE)


def _length_in_patient(
    finding: LinearMeasurement, source: Sequence[Instance], stamp: Stamp, common: dict[str, Any]
) -> Any:
    """A length between two points of the patient, in mm LPS (TID 1501 with SCOORD3D)."""
    from highdicom.sr import CoordinatesForMeasurement3D, MeasurementsAndQualitativeEvaluations

    lies_on = next(iter(getattr(finding.of, "frames", ())), (source[0], 0))
    ends = np.array([finding.start, finding.end], float)
    where = CoordinatesForMeasurement3D("POLYLINE", ends, frame_of_reference(lies_on[0], stamp))
    length = float(np.linalg.norm(ends[1] - ends[0]))
    measured = _measurement(codes.SCT.Length, length, MILLIMETRE, referenced_coordinates=[where])
    return MeasurementsAndQualitativeEvaluations(measurements=[measured], **common)


def _classification(finding: Classification, common: dict[str, Any]) -> Any:
    """Numbers as measurements without a unit, texts and bool as evaluations (TID 1501)."""
    from highdicom.sr import MeasurementsAndQualitativeEvaluations, SourceImageForMeasurementGroup

    names: Mapping[str, Any] = {str(name): value for name, value in finding.labels.items()}
    numbers = {name: value for name, value in names.items() if _is_number(value)}
    instances = {one.sop_instance_uid: one for one in _instances(finding.of)}
    if finding.code is not None:
        common["finding_type"] = _coded(code_of("", finding.code))
    return MeasurementsAndQualitativeEvaluations(
        measurements=[_measurement(_coded(code_of(name)), value, NO_UNIT) for name, value in numbers.items()] or None,
        qualitative_evaluations=list(_evaluations(names, numbers)) or None,
        source_images=[SourceImageForMeasurementGroup(SecondaryCaptureImageStorage, uid) for uid in instances] or None,
        **common,
    )


def _instances(of: Any) -> Iterable[Instance]:
    """The instances of a volume, an image or a series."""
    return [one for one in getattr(of, "instances", ()) if one.frames]


def _evaluations(names: Mapping[str, Any], numbers: Mapping[str, Any]) -> Iterator[Any]:
    from highdicom.sr import QualitativeEvaluation

    for name, value in names.items():
        if name not in numbers:
            yield QualitativeEvaluation(_coded(code_of(name)), _coded(_answer(value)))


def _answer(value: Any) -> Code:
    if isinstance(value, bool | np.bool_):
        return YES if value else NO
    return code_of(value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


def _measurements(finding: StructuredReport, common: dict[str, Any]) -> Any:
    """Measurements ``(name, value, unit)``; the name a text or a code, the unit one of UCUM, a code, or None."""
    from highdicom.sr import MeasurementsAndQualitativeEvaluations

    if isinstance(finding.content, str) or not isinstance(finding.content, Iterable):
        raise AnswerInvalid("", "A report should hold a list of measurements: (name, value, unit).")
    content = [_read_measurement(number, item) for number, item in enumerate(finding.content, start=1)]
    measured = [_measurement(_name(name), value, _unit(unit)) for name, value, unit in content]
    return MeasurementsAndQualitativeEvaluations(measurements=measured or None, **common)


def _read_measurement(number: int, item: Any) -> tuple[str | Coded, float, str | Coded | None]:
    """Return the name, the value and the unit of a measurement. Raises AnswerInvalid."""
    it = f"Measurement {number} of a report"
    try:
        name, value, unit = item
    except (TypeError, ValueError):
        raise AnswerInvalid("", f"{it} should be (name, value, unit).") from None
    if not _is_concept(name):
        raise AnswerInvalid("", f"{it} should have a name that is text or a code.")
    if unit is not None and not _is_concept(unit):
        raise AnswerInvalid("", f"{it} should have a unit that is text of UCUM, a code or None.")
    try:
        size = math.nan if isinstance(value, str | bool | np.bool_) or np.ndim(value) else float(value)
    except (TypeError, ValueError, OverflowError):
        size = math.nan
    if not math.isfinite(size):
        raise AnswerInvalid("", f"{it} should have a value that is a finite number; leave it out where there is none.")
    return name, size, unit


def _is_concept(value: Any) -> bool:
    return isinstance(value, str) or all(hasattr(value, name) for name in ("value", "scheme_designator", "meaning"))


def _unit(unit: str | Coded | None) -> Code:
    if not unit:
        return NO_UNIT
    return unit_code(unit) if isinstance(unit, str) else code_of("", unit)


def _name(name: Any) -> Any:
    return _coded(code_of(name) if isinstance(name, str) else code_of("", name))


def _measurement(name: Any, value: float, unit: Code, **more: Any) -> Any:
    from highdicom.sr import Measurement

    return Measurement(name=name, value=float(value), unit=_coded(unit), **more)
