"""The response to an inference: the mask as a file, the names of its regions, both in a form, or a segmentation.

Each has a Content-Length: from a chunked response the Python client saves wrong bytes.
"""

import json

import flask

from gateway.contract.requests import JSON, Request, Result
from gateway.dicom.volumes.nifti_volumes import NiftiVolume, images_of
from gateway.endpoints.answer_forms import whole
from gateway.endpoints.problems import request_id
from gateway.errors import NotAcceptable
from gateway.protocol.kinds import DICOM
from gateway.protocol.monailabel.label_answers import LabelOutput, answer_words
from gateway.protocol.monailabel.label_requests import NIFTI_GZ, NRRD, LabelRequest
from gateway.representations.answer_files import SentAnswer, object_names
from gateway.representations.label_files import MEDIA_TYPE, FileOptions, label_file
from gateway.representations.label_maps import LabelMap
from gateway.service.exchange import Exchange
from gateway.wire import OutgoingPart, encode, new_boundary

JSON_TYPE = "application/json"


def label_response(
    exchange: Exchange, request: Request, result: Result, label: LabelRequest, output: LabelOutput
) -> flask.Response:
    """Return a checked answer in the form that ``output`` names; one without a mask as JSON, where it leaves that open.

    Raises NotAcceptable for an answer that has no such form, AnswerInvalid for a mask that fits no image.
    """
    answer = SentAnswer.of(result)
    if output is LabelOutput.DICOM_SEG:
        return _file(whole(exchange, result, DICOM, _segmentation(answer)), "dcm")
    labels = _label_map(answer, request, output)
    words = _text(answer_words(answer.json, labels.names if labels else {}, result.card))
    if output is LabelOutput.JSON or (labels is None and output is LabelOutput.ALL):
        return whole(exchange, result, JSON_TYPE, memoryview(words))
    if labels is None:
        raise NotAcceptable("The answer has no mask; ask for json.")
    extension = label.extension or (NIFTI_GZ if isinstance(labels.place, NiftiVolume) else NRRD)
    data = label_file(labels, extension, FileOptions(label.compress, label.covers))
    if output is LabelOutput.IMAGE:
        return _file(whole(exchange, result, MEDIA_TYPE, memoryview(data)), extension[1:])
    boundary = new_boundary()
    form = b"".join(encode(boundary, _parts(words, data, extension)))
    return whole(exchange, result, f"multipart/form-data; boundary={boundary}", memoryview(form))


def _label_map(answer: SentAnswer, request: Request, output: LabelOutput) -> LabelMap | None:
    """Return the label map of an answer; for JSON, None where its masks make none."""
    try:
        return LabelMap.of(answer, images_of(request.instances))
    except NotAcceptable:
        if output is LabelOutput.JSON:
            return None
        raise


def _parts(words: bytes, data: bytes, extension: str) -> list[OutgoingPart]:
    """The fields of a form; the client stores the file below the name that it has here."""
    field = ("Content-Disposition", 'form-data; name="params"'), ("Content-Type", JSON_TYPE)
    disposition = f'form-data; name="image"; filename="{request_id()}{extension}"'
    file = ("Content-Disposition", disposition), ("Content-Type", MEDIA_TYPE)
    return [OutgoingPart(field, len(words), [words]), OutgoingPart(file, len(data), [data])]


def _segmentation(answer: SentAnswer) -> memoryview:
    """The one segmentation of an answer in DICOM. Raises NotAcceptable where there is none, or several."""
    found = [answer.buffers[index] for index, name in object_names(answer).items() if name.startswith("seg_")]
    if len(found) != 1:
        raise NotAcceptable(f"The answer has {len(found)} segmentations, not one; ask the model's own route for all.")
    return found[0]


def _file(response: flask.Response, extension: str) -> flask.Response:
    response.headers["Content-Disposition"] = f'attachment; filename="{request_id()}.{extension}"'
    return response


def _text(words: JSON) -> bytes:
    return json.dumps(words, ensure_ascii=False).encode("utf-8", "surrogatepass")
