"""The rescale of a series, judged by its headers before a pixel is decoded."""

from collections.abc import Sequence

from pydicom import Dataset

from gateway.dicom.decoding.windows import dose_scaling, linear
from gateway.dicom.reading.attributes import sequence, tag, unreadable
from gateway.dicom.reading.instances import Instance
from gateway.dicom.reading.raw_values import encoded
from gateway.dicom.reading.redaction import naming
from gateway.dicom.volumes.shared_properties import Frame, group

_LINEAR = ("RescaleSlope", "RescaleIntercept")
_OTHER = ("ModalityLUTSequence", "DoseGridScaling")
_STATED = (*_LINEAR, *_OTHER)
"""What changes a stored value into one with a unit (PS3.3 C.11.1, C.8.8.3.4.2)."""

Form = tuple[bytes | int | None, ...]


def check(frames: Sequence[Frame]) -> None:
    """Refuse a rescale that is unreadable, or that some of the frames state and others do not; naming an instance.

    That each frame states a rescale of its own is usual in PET, and right.
    """
    forms = [_form(frame) for frame in frames]
    for index, keyword in enumerate(_STATED):
        _refuse_gaps(frames, keyword, [form[index] for form in forms])
    first: dict[Form, Frame] = {}
    for form, frame in zip(forms, frames, strict=True):
        first.setdefault(form, frame)
    for instance, number in first.values():
        _judge(instance, number)


def _form(frame: Frame) -> Form:
    """The values of ``_STATED``, None for each that is absent; the same for frames of which one judgement holds."""
    found, header = group(frame, "PixelValueTransformationSequence"), frame[0].header
    return (*(_bytes(found, keyword) for keyword in _LINEAR), *(_bytes(header, keyword) for keyword in _OTHER))


def _refuse_gaps(frames: Sequence[Frame], keyword: str, stated: Sequence[bytes | int | None]) -> None:
    """Refuse an attribute that some of the frames state and others do not."""
    if None in stated and any(one is not None for one in stated):
        with naming(frames[stated.index(None)][0].source):
            raise unreadable(keyword, "is missing in an image while others of its series state it")


def _bytes(dataset: Dataset, keyword: str) -> bytes | int | None:
    """The value as it lies in the file; the dataset's identity where it was converted, None where it is absent."""
    return encoded(dataset, keyword) or (id(dataset) if tag(keyword) in dataset else None)


def _judge(instance: Instance, frame: int) -> None:
    with naming(instance.source):
        if not sequence(instance.header, "ModalityLUTSequence"):
            linear(instance.header, frame)
        dose_scaling(instance.header)
