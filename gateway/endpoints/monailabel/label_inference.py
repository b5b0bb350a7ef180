"""An inference: a form in, with the image or its name and the points; a mask and the names of its regions out."""

import json

import flask

from gateway.contract.model import Model
from gateway.contract.requests import JSON, EncodedAnswer
from gateway.dicom.volumes.nifti_volumes import turned_axes
from gateway.endpoints.access_control import caller_name, refuse_foreign_form
from gateway.endpoints.current import current_service
from gateway.endpoints.guarded_views import Rule
from gateway.endpoints.inference import open_exchange
from gateway.endpoints.monailabel.label_models import DOOR, image_sessions, label_model
from gateway.endpoints.monailabel.label_response import label_response
from gateway.errors import ParameterRefused, StudyNotFound
from gateway.intake.body import Body
from gateway.intake.label_forms import receive_label_form
from gateway.intake.receiving import Received, ReceiveOptions, receive_files, receive_words
from gateway.protocol.kinds import DICOM
from gateway.protocol.media_ranges import MULTIPART
from gateway.protocol.monailabel.label_answers import LabelOutput
from gateway.protocol.monailabel.label_points import LabelPoints, PointReplies
from gateway.protocol.monailabel.label_requests import LabelRequest, declared_names
from gateway.studies.manifests import is_uid

NAMED = ("study", "series", "instances", "from", "studyPath")
"""Members of a request's JSON that name a study: here the address alone names the image."""


def _infer(name: str) -> flask.Response:
    refuse_foreign_form()
    model, output = label_model(name), LabelOutput.read(flask.request.args.get("output", ""))
    call = _LabelCall(model)
    accept = f"{MULTIPART}; type={DICOM}" if output is LabelOutput.DICOM_SEG else MULTIPART
    environ = flask.request.environ
    with open_exchange(model, current_service(), environ, DOOR, accept=accept, ask=call.ask) as exchange:
        request = exchange.receive(call.receive)
        result = exchange.infer(request)
        return label_response(exchange, request, result, call.label, output)


class _LabelCall:
    """One inference, as its address and its form state it."""

    def __init__(self, model: Model) -> None:
        self._model, query = model, flask.request.args
        self._session, self._image = query.get("session_id", ""), query.get("image", "")
        self.label = LabelRequest({})
        self._replies = PointReplies(self.label.points)

    def ask(self, question: JSON, shown: EncodedAnswer | None) -> JSON:
        """Answer a question of the model by the points of the request."""
        return self._replies.reply(question, shown)

    def receive(self, options: ReceiveOptions) -> Received:
        """Read the form, and the image where it is: a source for ``Exchange.receive``.

        Raises SessionGone, StudyNotFound for an image that is not stored, and ParameterRefused without any image.
        """
        received = self._received(options)
        if self.label.points != LabelPoints():
            self._replies = PointReplies(self.label.points, turned_axes(received.instances))
        return received

    def _received(self, options: ReceiveOptions) -> Received:
        files = image_sessions().files(caller_name(), self._session) if self._session else []
        body = Body.of(flask.request.environ, options.settings, options.ticket)
        received = receive_label_form(body, self._translate, options)
        if received.instances and files:
            raise ParameterRefused([("/session_id", "Name a session or send a file, not both.")])
        if files:
            return receive_files(received.text, files, options)
        return received if received.instances else self._stored(received, options)

    def _stored(self, received: Received, options: ReceiveOptions) -> Received:
        if not self._image:
            raise ParameterRefused([("/image", "Send the image as the file, or name it, or a session.")])
        if options.resolver is None or not is_uid(self._image):
            raise StudyNotFound("No such image is stored; send it as the file, or open a session.")
        text = json.dumps(received.json | {"series": self._image}, ensure_ascii=False).encode()
        return receive_words(Body("application/json", "", len(text), iter([text])), {}, options)

    def _translate(self, params: JSON) -> bytes:
        """Return the JSON of the request that the model gets. Raises ParameterRefused."""
        self.label = LabelRequest.of(params, declared_names(self._model.parameters_schema("#/{model}")))
        if named := [name for name in NAMED if name in self.label.parameters]:
            raise ParameterRefused([(f"/{name}", "The address alone names the image.") for name in named])
        return json.dumps(self.label.parameters, ensure_ascii=False).encode()


RULES: tuple[Rule, ...] = (("POST", "/infer/<path:name>", _infer),)
