"""The DICOM objects of an answer that was stored as JSON and masks: what its model writes where DICOM is accepted."""

import logging
from collections.abc import Iterator, Sequence

from gateway.contract.requests import ModelAnswer, Provenance, Result
from gateway.dicom.reading.instances import Instance
from gateway.dicom.reading.named_images import NAMED, require_named
from gateway.dicom.volumes.nifti_volumes import is_nifti
from gateway.errors import NotAcceptable
from gateway.protocol.answers import dicom_answer
from gateway.protocol.kinds import DICOM
from gateway.protocol.response import encoded
from gateway.protocol.serializer import InferenceSerializer
from gateway.representations.answer_files import SentAnswer, parts_of
from gateway.representations.placement import placed_masks, placed_members

logger = logging.getLogger("gateway")

MEMBERS = ("bounding_boxes_2d", "linear_measurements_2d", "study_ml_json", "series_ml_json")
"""Members of an answer that become objects, beside its masks."""


def needs_no_objects(result: Result) -> bool:
    """Return True for an answer that is DICOM objects alone, or has nothing that could become one."""
    answer = SentAnswer.of(result)
    return all(kind == DICOM for kind in answer.media_types) and not any(answer.json.get(name) for name in MEMBERS)


def with_objects(
    result: Result, source: Sequence[Instance], provenance: Provenance, *, label_maps: bool = False
) -> Result:
    """Return an answer with its findings as DICOM objects in the study of ``source``, the files of its request.

    Pictures and reports of the answer are objects already, and follow as they are. ``label_maps`` is that of
    ``dicom.writing.objects``. Raises NotAcceptable for files that are no DICOM, StudyRefused for an image without a
    UID, AnswerInvalid for findings that lie on no image or that DICOM cannot hold.
    """
    from gateway.dicom.writing.objects import objects  # highdicom, whose import takes a second

    _require_study(source)
    answer = SentAnswer.of(result)
    found = [*placed_masks(answer.json, answer.buffers, source), *placed_members(answer.json, source)]
    made = objects(found, source=source, provenance=provenance, label_maps=label_maps)
    document, buffers = dicom_answer(made, found)
    finished = [pair for pair in zip(parts_of(answer), result.parts, strict=True) if pair[1].media_type == DICOM]
    document["parts"] += [entry for entry, _ in finished]
    written = ModelAnswer(document, [*buffers, *(part.data for _, part in finished)], faults=())
    data, parts = encoded(written, serializer=InferenceSerializer(), strict=True, warn=logger.warning)
    return Result(data, parts, result.input_digest, result.seconds, card=result.card)


def pieces_of(result: Result) -> Iterator[memoryview]:
    """Yield the bytes of an answer, in the order in which its digest is made of them."""
    yield memoryview(result.json_bytes)
    yield from (part.data for part in result.parts)


def _require_study(source: Sequence[Instance]) -> None:
    if not source or any(map(is_nifti, source)):
        raise NotAcceptable(
            "The request had no DICOM files, so the answer cannot be DICOM objects, which belong to a study: accept "
            "multipart/related, application/zip or application/x-nifti."
        )
    require_named(source, NAMED)
