"""The findings of an answer: those in its JSON and its masks, and those in its DICOM parts."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any

from gateway.client.answer import Answer
from gateway.client.placement import Unplaced, placed_masks, placed_members
from gateway.client.saving import object_names
from gateway.contract.findings import Finding, SecondaryCapture, StructuredReport
from gateway.dicom.drawing.captures import CarriedObject
from gateway.dicom.drawing.render import readable
from gateway.dicom.reading.files import read_header
from gateway.dicom.reading.instances import Instance
from gateway.dicom.volumes import segmentations
from gateway.errors import AnswerInvalid, StudyRefused
from gateway.protocol.kinds import kind_of
from gateway.protocol.response import check
from gateway.protocol.serializer import InferenceSerializer


def findings(answer: Answer, source: Sequence[Instance]) -> list[Finding]:
    """Return the findings of an answer in its order: parts, boxes, lengths, labels, conformance.

    ``of`` is the volume, image or series of ``source`` that a finding lies on; None without a source.
    Segmentations are read as masks; of other DICOM parts, pictures and reports are findings. Raises AnswerInvalid for
    an answer that breaks protocol 1.0, or names images that ``source`` lacks.
    """
    require_sound(answer)
    placed = [*_parts(answer, source), *placed_members(answer.json, source)]
    for finding in placed if source else ():
        if isinstance(of := getattr(finding, "of", None), Unplaced):
            at = f"/series_ml_json/{of.series_instance_uid}"
            raise AnswerInvalid(at, "The study has no series of this UID.")
    return placed


def drawn_findings(answer: Answer, source: Sequence[Instance]) -> tuple[list[Finding], list[CarriedObject]]:
    """Return what ``write_pictures`` draws of an answer that passed the checks: findings, and DICOM objects.

    A segmentation has its masks, if these lie on images of ``source``. Raises AnswerInvalid as ``findings``.
    """
    drawn = [*placed_masks(answer.json, answer.buffers, source), *placed_members(answer.json, source)]
    objects = [
        CarriedObject(name, answer.buffers[index], tuple(_segments(answer.buffers[index], source)))
        for index, name in object_names(answer).items()
    ]
    return drawn, objects


def origin(answer: Answer, route: str) -> str:
    """Return the line of a contact sheet on the model that made it, and on what it is for."""
    names = " ".join(
        readable(name) for name in (answer.model, answer.model_version, f"on /{route.lstrip('/')}") if name
    )
    return f"Model {names}. For research, not for diagnosis or treatment."


def require_sound(answer: Answer) -> None:
    """Raise AnswerInvalid, with a pointer to the first fault, unless an answer keeps to protocol 1.0."""
    check(answer.json, list(answer.buffers), serializer=InferenceSerializer(), strict=True, warn=_ignore)


def objects(answer: Answer) -> list[Any]:
    """Return the DICOM parts of an answer as datasets. Raises StudyRefused."""
    parts = zip(answer.parts, answer.buffers, strict=True)
    return [segmentations.read_object(buffer) for part, buffer in parts if kind_of(part).is_dicom]


def _ignore(line: str) -> None:
    """Ignore a warning: a strict check raises instead."""


def _parts(answer: Answer, source: Sequence[Instance]) -> Iterator[Finding]:
    """Masks and DICOM parts, in their order."""
    masks = placed_masks(answer.json, answer.buffers, source)
    for part, buffer in zip(answer.parts, answer.buffers, strict=True):
        if kind_of(part).is_mask:
            yield next(masks)
        else:
            yield from _dicom(part, buffer, source)


def _dicom(part: dict[str, Any], buffer: memoryview, source: Sequence[Instance]) -> Iterator[Finding]:
    dataset, label = segmentations.read_object(buffer), str(part.get("label", ""))
    if source and segmentations.is_segmentation(dataset):
        yield from segmentations.masks(buffer, source)
    elif part["binary_type"] == "dicom_secondary_capture":
        yield SecondaryCapture(dataset, label)
    elif part["binary_type"] == "dicom_structured_report":
        yield StructuredReport(dataset, label)


def _segments(buffer: memoryview, source: Sequence[Instance]) -> list[segmentations.SegmentMask]:
    """The masks of a segmentation that lie on images of ``source``; nothing of any other object."""
    with suppress(StudyRefused):
        if segmentations.is_segmentation(read_header(BytesIO(buffer))):
            return [mask for mask in segmentations.masks(buffer, source) if _covers(mask)]
    return []


def _covers(mask: segmentations.SegmentMask) -> bool:
    """Return True if the planes of a mask have the size of the images that they lie on."""
    return {(one.rows, one.columns) for one, _ in mask.of.frames} == {mask.array.shape[1:]}
