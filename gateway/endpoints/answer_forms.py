"""An answer in the form that its request accepts: parts, one DICOM object, an archive, JSON, a picture, or NIfTI."""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import flask

from gateway.contract.requests import Request, Result
from gateway.endpoints import inference
from gateway.endpoints.multipart_response import DIGEST_HEADER, SEND_SIZE, hashes_of
from gateway.protocol.accept import JSON, NIFTI, NIFTI_FILES, PNG, RUN_LENGTHS, ZIP, AnswerForm
from gateway.protocol.kinds import DICOM
from gateway.service.exchange import Exchange

if TYPE_CHECKING:
    from gateway.dicom.reading.instances import Instance
    from gateway.representations.answer_files import SentAnswer

HASHES_HEADER = "X-Hashes"
"""What the ``hashes`` part says of an answer in parts, of one that is sent in another form."""


@dataclass(frozen=True)
class Representable:
    """An answer to represent in a form: that of the model on ``route``; ``images`` returns those that it lies on."""

    result: Result
    form: AnswerForm
    route: str
    images: "Callable[[], list[Instance]]"


Write = Callable[[Representable], bytes | memoryview | None]
"""Returns the bytes of a form; None for an answer that has to be sent in parts."""


def in_form(exchange: Exchange, request: Request, result: Result, form: AnswerForm) -> flask.Response:
    """Return a checked answer in a form. Raises as ``represent``."""
    data = represent(Representable(result, form, exchange.model.name, partial(images_of_files, request.instances)))
    if data is None:
        return inference.in_parts(exchange, result)
    return whole(exchange, result, form.media_type, data)


def represent(answer: Representable) -> memoryview | None:
    """Return the bytes of an answer in its form, None where it has to be sent in parts.

    Raises AnswerInvalid for a mask that does not fill its shape, StudyRefused for an image that cannot be drawn,
    NotAcceptable for masks that one NIfTI file cannot have.
    """
    write = WRITERS.get(answer.form.media_type)
    data = write(answer) if write is not None else None
    return None if data is None else memoryview(data)


def whole(exchange: Exchange, result: Result, media_type: str, data: memoryview) -> flask.Response:
    """Return bytes that stand for an answer; its digests are in the head, since they are not those of the bytes."""
    exchange.answer(result)
    fields = {DIGEST_HEADER: exchange.settings.digest, **inference.answer_fields(exchange)}
    fields[HASHES_HEADER] = hashes_of(result.input_digest, exchange.finish()).decode("ascii")
    fields["Content-Length"] = str(len(data))

    def body() -> Iterator[bytes]:
        for start in range(0, len(data), SEND_SIZE):
            yield bytes(data[start : start + SEND_SIZE])

    return inference.sending(exchange, flask.Response(body(), content_type=media_type, headers=fields))


def _object(answer: Representable) -> memoryview | None:
    return answer.result.parts[0].data if [part.media_type for part in answer.result.parts] == [DICOM] else None


def _json(answer: Representable) -> bytes:
    if answer.form.masks != RUN_LENGTHS:
        return answer.result.json_bytes
    from gateway.representations.run_lengths import with_run_lengths

    return json.dumps(with_run_lengths(_sent(answer.result)), ensure_ascii=False).encode("utf-8", "surrogatepass")


def _archive(answer: Representable) -> bytes:
    from gateway.representations.answer_files import answer_files, archive

    if answer.form.masks != NIFTI_FILES:
        return archive(answer_files(_sent(answer.result)))
    from gateway.representations.nifti_masks import nifti_files

    sent = _sent(answer.result)
    return archive(answer_files(sent, nifti_files(sent, answer.images())))


def _nifti(answer: Representable) -> bytes:
    from gateway.representations.nifti_masks import one_nifti_file

    return one_nifti_file(_sent(answer.result), answer.images())


def _sheet(answer: Representable) -> memoryview:
    from gateway.dicom.drawing.gallery import draw_sheet
    from gateway.representations.pictures import drawn_findings, origin_line

    source, file, card = answer.images(), io.BytesIO(), answer.result.card
    findings, objects = drawn_findings(_sent(answer.result), source)
    line = origin_line(card.name if card.name != answer.route else "", card.version, answer.route)
    draw_sheet(source, findings, objects, line).save(file, "PNG")
    return file.getbuffer()


def images_of_files(files: Sequence[BinaryIO]) -> "list[Instance]":
    """Return the images of a request's files. Raises StudyRefused, LimitExceeded."""
    from gateway.dicom.volumes.nifti_volumes import images_of

    return images_of(files)


def _sent(result: Result) -> "SentAnswer":
    from gateway.representations.answer_files import SentAnswer

    return SentAnswer.of(result)


WRITERS: Mapping[str, Write] = {DICOM: _object, ZIP: _archive, JSON: _json, PNG: _sheet, NIFTI: _nifti}
