"""An answer in the form that its request accepts: parts, one DICOM object, an archive, JSON, a picture, or NIfTI."""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

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

Write = Callable[[Exchange, Request, Result, AnswerForm], bytes | memoryview | None]
"""Returns the bytes of a form; None for an answer that has to be sent in parts."""


def in_form(exchange: Exchange, request: Request, result: Result, form: AnswerForm) -> flask.Response:
    """Return a checked answer in a form.

    Raises AnswerInvalid for a mask that does not fill its shape, StudyRefused for an image that cannot be drawn,
    NotAcceptable for masks that one NIfTI file cannot have.
    """
    write = WRITERS.get(form.media_type)
    data = write(exchange, request, result, form) if write is not None else None
    if data is None:
        return inference.in_parts(exchange, result)
    return whole(exchange, result, form.media_type, memoryview(data))


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


def _object(exchange: Exchange, request: Request, result: Result, form: AnswerForm) -> memoryview | None:
    return result.parts[0].data if [part.media_type for part in result.parts] == [DICOM] else None


def _json(exchange: Exchange, request: Request, result: Result, form: AnswerForm) -> bytes:
    if form.masks != RUN_LENGTHS:
        return result.json_bytes
    from gateway.representations.run_lengths import with_run_lengths

    return json.dumps(with_run_lengths(_sent(result)), ensure_ascii=False).encode("utf-8", "surrogatepass")


def _archive(exchange: Exchange, request: Request, result: Result, form: AnswerForm) -> bytes:
    from gateway.representations.answer_files import answer_files, archive

    if form.masks != NIFTI_FILES:
        return archive(answer_files(_sent(result)))
    from gateway.representations.nifti_masks import nifti_files

    answer = _sent(result)
    return archive(answer_files(answer, nifti_files(answer, _source(request))))


def _nifti(exchange: Exchange, request: Request, result: Result, form: AnswerForm) -> bytes:
    from gateway.representations.nifti_masks import one_nifti_file

    return one_nifti_file(_sent(result), _source(request))


def _sheet(exchange: Exchange, request: Request, result: Result, form: AnswerForm) -> memoryview:
    from gateway.dicom.drawing.gallery import draw_sheet
    from gateway.representations.pictures import drawn_findings, origin_line

    source, answer, file = _source(request), _sent(result), io.BytesIO()
    findings, objects = drawn_findings(answer, source)
    named = result.card.name if result.card.name != exchange.model.name else ""
    line = origin_line(named, result.card.version, exchange.model.name)
    draw_sheet(source, findings, objects, line).save(file, "PNG")
    return file.getbuffer()


def _source(request: Request) -> "list[Instance]":
    from gateway.dicom.volumes.nifti_volumes import images_of

    return images_of(request.instances)


def _sent(result: Result) -> "SentAnswer":
    from gateway.representations.answer_files import SentAnswer

    return SentAnswer.of(result)


WRITERS: Mapping[str, Write] = {DICOM: _object, ZIP: _archive, JSON: _json, PNG: _sheet, NIFTI: _nifti}
