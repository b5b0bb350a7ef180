"""The findings of an answer: those in its JSON and its masks, and those in its DICOM parts."""

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.client.answer import Answer
from gateway.contract.findings import Finding, SecondaryCapture, StructuredReport
from gateway.dicom.reading.instances import Instance
from gateway.dicom.volumes import segmentations
from gateway.errors import AnswerInvalid
from gateway.protocol.kinds import kind_of
from gateway.protocol.response import check
from gateway.protocol.serializer import InferenceSerializer
from gateway.representations.pictures import origin_line
from gateway.representations.placement import Unplaced, placed_masks, placed_members


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


def origin(answer: Answer, route: str) -> str:
    """Return the line of a contact sheet on the model that made it, and on what it is for."""
    return origin_line(answer.model, answer.model_version, route)


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
