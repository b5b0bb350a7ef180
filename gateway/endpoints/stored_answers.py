"""An answer that was made before, in the form that a request accepts: the result of a run or of a session.

Its model does not run again. DICOM objects are made of its findings and of the files of its request.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Self

import flask

from gateway import __version__
from gateway.contract.model import Model
from gateway.contract.requests import Provenance, Result
from gateway.endpoints.answer_forms import HASHES_HEADER, Representable, images_of_files, represent
from gateway.endpoints.current import current_service
from gateway.endpoints.guarded_views import admission_ticket
from gateway.endpoints.multipart_response import DIGEST_HEADER, hashes_of, model_fields, parts_of, response
from gateway.errors import NotAcceptable, ParameterRefused, StudyNotFound
from gateway.intake.admission import Ticket
from gateway.protocol.accept import AnswerForm, answer_form
from gateway.protocol.digests import hash_function
from gateway.protocol.media_ranges import MULTIPART

if TYPE_CHECKING:
    from gateway.dicom.reading.instances import Instance

OUTPUT = "output"
"""The parameter of the query that asks for DICOM objects in each form, as the member of a request's JSON does."""
OUTPUTS = ("", "json", "dicom")
GONE = (
    "The images of this answer are not stored any more, or have changed since, so it is sent without them alone: "
    "accept multipart/related, application/json or application/zip."
)


@dataclass(frozen=True)
class StoredAnswer:
    """An answer as its model gave it, on ``route``, to a request of the time ``received``.

    ``algorithm`` made its digests. ``files`` returns the files of the request; it raises StudyNotFound where they are
    not stored any more. ``fields`` are more fields of its responses.
    """

    result: Result
    output_digest: str
    algorithm: str
    route: str
    received: datetime
    files: Callable[[Ticket], Sequence[BinaryIO]]
    fields: Mapping[str, str] = field(default_factory=dict)

    def response(self, form: AnswerForm) -> flask.Response:
        """Return it in a form. Raises NotAcceptable, Unavailable, and as ``represent``."""
        data = None
        if form.media_type != MULTIPART:
            with ExitStack() as stack:  # a place is taken where the files are read
                images = partial(self._images, lambda: stack.enter_context(admission_ticket()))
                data = represent(Representable(self.result, form, self.route, images))
        fields = {DIGEST_HEADER: self.algorithm, **model_fields(self.result.card, self.route), **self.fields}
        hashes = hashes_of(self.result.input_digest, self.output_digest)
        if data is None:
            answer = response(parts_of(self.result, [hashes]), fields, hashlib.sha256(hashes).hexdigest()[:32])
        else:
            fields[HASHES_HEADER] = hashes.decode("ascii")
            answer = flask.Response(bytes(data), content_type=form.media_type, headers=fields)
        answer.vary.add("Accept")
        return answer

    def with_objects(self) -> Self:
        """Return it with its findings as DICOM objects; itself where it has no others.

        Raises NotAcceptable, StudyRefused and AnswerInvalid where they cannot be made, and Unavailable.
        """
        from gateway.representations import answer_objects

        if answer_objects.needs_no_objects(self.result):
            return self
        model = current_service().models.get(self.route)
        with admission_ticket() as ticket:
            images, label_maps = self._images(lambda: ticket), model is not None and model.label_maps
            made = answer_objects.with_objects(self.result, images, self._provenance(model), label_maps=label_maps)
        digest = hash_function(self.algorithm)()
        for piece in answer_objects.pieces_of(made):
            digest.update(piece)
        return replace(self, result=made, output_digest=digest.hexdigest())

    def _images(self, ticket: Callable[[], Ticket]) -> "list[Instance]":
        try:
            return images_of_files(self.files(ticket()))
        except StudyNotFound as error:
            raise NotAcceptable(GONE) from error

    def _provenance(self, model: Model | None) -> Provenance:
        """The origin of the objects. What a model of another version says of its purpose is not said of this one."""
        card = self.result.card
        same = model is not None and (model.card.name, model.card.version) == (card.name, card.version)
        return Provenance(
            model_name=card.name,
            model_version=card.version,
            input_digest=self.result.input_digest,
            parameters_digest=card.parameters_digest,
            received=self.received,
            model_digest=card.model_digest,
            research=model.research if same and model is not None else True,
            gateway_version=__version__,
        )


def requested_form() -> AnswerForm:
    """Return the form that this request accepts; ``?output=dicom`` asks for objects in each.

    Raises NotAcceptable, ParameterRefused.
    """
    form, output = answer_form(flask.request.headers.get("Accept", "")), flask.request.args.get(OUTPUT, "")
    if output not in OUTPUTS:
        raise ParameterRefused([(f"/{OUTPUT}", f"{OUTPUT} should be json or dicom.")])
    return replace(form, dicom=output == "dicom") if output else form
