"""The rescale of a series, judged by its headers before a pixel is decoded."""

from collections.abc import Sequence

from pydicom import Dataset

from gateway.dicom.decoding.windows import dose_scaling, linear
from gateway.dicom.reading.attributes import sequence, tag, unreadable
from gateway.dicom.reading.instances import Instance
from gateway.dicom.reading.raw_values import encoded
from gateway.dicom.reading.redaction import naming
from gateway.dicom.volumes.uniformity import Frame, group

_LINEAR = ("RescaleSlope", "RescaleIntercept")
_STATED = (*_LINEAR, "ModalityLUTSequence", "DoseGridScaling")
"""What changes a stored value into one with a unit (PS3.3 C.11.1, C.8.8.3.4.2)."""


def check(frames: Sequence[Frame]) -> None:
    """Refuse a rescale that is unreadable, or that some of the frames state and others do not; naming an instance.

    That each frame states a rescale of its own is usual in PET, and right.
    """
    groups = [group(frame, "PixelValueTransformationSequence") for frame in frames]
    for keyword in _STATED:
        _refuse_gaps(frames, groups, keyword)
    judged = set[tuple[bytes | int | None, ...]]()
    for (instance, frame), found in zip(frames, groups, strict=True):
        form = _form(instance.header, found)
        if form not in judged:
            judged.add(form)
            _judge(instance, frame)


def _refuse_gaps(frames: Sequence[Frame], groups: Sequence[Dataset], keyword: str) -> None:
    key = tag(keyword)
    lacking = [
        instance
        for (instance, _), found in zip(frames, groups, strict=True)
        if key not in found and (found is instance.header or key not in instance.header)
    ]
    if lacking and len(lacking) < len(frames):
        with naming(lacking[0].source):
            raise unreadable(keyword, "is missing in an image while others of its series state it")


def _form(header: Dataset, found: Dataset) -> tuple[bytes | int | None, ...]:
    """The same for frames of which one judgement holds."""
    whole = ("ModalityLUTSequence", "DoseGridScaling")
    return (*(_bytes(found, keyword) for keyword in _LINEAR), *(_bytes(header, keyword) for keyword in whole))


def _bytes(dataset: Dataset, keyword: str) -> bytes | int | None:
    """The value as it lies in the file; the dataset's identity where it was converted, None where it is absent."""
    return encoded(dataset, keyword) or (id(dataset) if tag(keyword) in dataset else None)


def _judge(instance: Instance, frame: int) -> None:
    with naming(instance.source):
        if not sequence(instance.header, "ModalityLUTSequence"):
            linear(instance.header, frame)
        dose_scaling(instance.header)
