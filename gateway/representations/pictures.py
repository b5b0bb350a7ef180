"""What the pictures of an answer show: its findings on the images of the study, and its DICOM objects."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO

from gateway.contract.findings import Finding
from gateway.dicom.drawing.captures import CarriedObject
from gateway.dicom.drawing.render import readable
from gateway.dicom.reading.files import read_header
from gateway.dicom.reading.instances import Instance
from gateway.dicom.volumes import segmentations
from gateway.errors import StudyRefused
from gateway.representations.answer_files import Answered, object_names
from gateway.representations.placement import placed_masks, placed_members


def drawn_findings(answer: Answered, source: Sequence[Instance]) -> tuple[list[Finding], list[CarriedObject]]:
    """Return what ``write_pictures`` draws of an answer that passed the checks: findings, and DICOM objects.

    A segmentation has its masks, if these lie on images of ``source``. Raises AnswerInvalid for findings that do not.
    """
    drawn = [*placed_masks(answer.json, answer.buffers, source), *placed_members(answer.json, source)]
    objects = [
        CarriedObject(name, answer.buffers[index], tuple(_segments(answer.buffers[index], source)))
        for index, name in object_names(answer).items()
    ]
    return drawn, objects


def origin_line(model: str, version: str, route: str) -> str:
    """Return the line of a contact sheet on the model that made it, and on what it is for."""
    names = " ".join(readable(name) for name in (model, version, f"on /{route.lstrip('/')}") if name)
    return f"Model {names}. For research, not for diagnosis or treatment."


def _segments(buffer: memoryview, source: Sequence[Instance]) -> Iterator[segmentations.SegmentMask]:
    """The masks of a segmentation that lie on images of ``source``; nothing of any other object."""
    with suppress(StudyRefused):
        if segmentations.is_segmentation(read_header(BytesIO(buffer))):
            yield from [mask for mask in segmentations.masks(buffer, source) if _covers(mask)]


def _covers(mask: segmentations.SegmentMask) -> bool:
    """Return True if the planes of a mask have the size of the images that they lie on."""
    return {(one.rows, one.columns) for one, _ in mask.of.frames} == {mask.array.shape[1:]}
