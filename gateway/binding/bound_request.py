"""Requests as a model is given them: one, or a batch answered by one call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from gateway.binding import outputs, parameters
from gateway.binding.declaration import Declaration
from gateway.binding.inputs import Inputs
from gateway.binding.parameters import OUTPUT
from gateway.binding.source_identity import require_one_space, require_uids
from gateway.contract.execution import Batch
from gateway.contract.findings import Finding
from gateway.contract.requests import Request
from gateway.errors import AnswerInvalid, ParameterRefused, StudyRefused
from gateway.protocol.accept import accepts_dicom

JSON_OUTPUT, DICOM_OUTPUT = "json", "dicom"


def negotiate_output(request: Request) -> str:
    """``dicom`` or ``json``; the request's own word wins over its Accept. Raises ParameterRefused for another word."""
    word = request.json.get(OUTPUT)
    if word is None:
        return DICOM_OUTPUT if accepts_dicom(request.accept) else JSON_OUTPUT
    if word not in (JSON_OUTPUT, DICOM_OUTPUT):
        raise ParameterRefused([(f"/{OUTPUT}", f"{OUTPUT} should be {JSON_OUTPUT} or {DICOM_OUTPUT}.")])
    return str(word)


def read_arguments(inputs: Inputs, declaration: Declaration, output: str) -> dict[str, Any]:
    """Return the arguments of a model by name, from a study that its answer can name. Raises StudyRefused."""
    if inputs.tensors.names and output == DICOM_OUTPUT:
        raise StudyRefused(
            "A tensor belongs to no study, so the answer cannot be DICOM objects: ask for JSON, or send DICOM files.",
            private="a tensor",
        )
    arguments = inputs.arguments(declaration)
    if inputs.nifti.files and output == DICOM_OUTPUT:
        raise StudyRefused(
            "A NIfTI file belongs to no study, so the answer cannot be DICOM objects: ask for JSON or NIfTI, or"
            " send DICOM files.",
            private="a NIfTI file",
        )
    if any(argument.of_images for argument in declaration.inputs):
        require_uids(inputs.instances, declaration, dicom=output == DICOM_OUTPUT)
    return arguments


@dataclass(frozen=True)
class BoundRequest:
    """A request bound to a declaration: its output form, its parameters, and the arguments from its study."""

    request: Request
    output: str
    inputs: Inputs
    given: parameters.Parameters
    arguments: dict[str, Any]

    @classmethod
    def of(cls, request: Request, declaration: Declaration) -> Self:
        """Read a request. Raises ParameterRefused before any file is read, and StudyRefused."""
        wanted, inputs = negotiate_output(request), Inputs(request)
        given = parameters.read(declaration.parameters, request.json, forbid_unknown=declaration.forbid_unknown)
        with request.context.measure("decode"):
            return cls(request, wanted, inputs, given, read_arguments(inputs, declaration, wanted))

    def predict(self, predict: Callable[..., Any]) -> Any:
        """Call a model for this request alone."""
        return predict(**self.arguments, **parameters.values(self.given))

    def findings(self, returned: Any, declaration: Declaration) -> list[Finding]:
        """Return the checked findings of what the model returned. Raises AnswerInvalid."""
        made = outputs.findings(returned, declaration, self.arguments)
        require_one_space(made, self.inputs.instances)
        return [*made, *self.inputs.conformance]


def predict_together(predict: Callable[..., Any], bound: Sequence[BoundRequest], batch: Batch) -> list[Any]:
    """Call a model once for several requests. Raises AnswerInvalid where it does not return one answer for each."""
    arguments = {name: [one.arguments[name] for one in bound] for name in bound[0].arguments}
    given = [parameters.values(one.given) for one in bound]
    alike = {name: [one[name] for one in given] for name in given[0]} if batch.mix_parameters else given[0]
    returned = list(predict(**arguments, **alike))
    if len(returned) != len(bound):
        raise AnswerInvalid("", f"A batch of {len(bound)} requests needs as many answers, not {len(returned)}.")
    return returned
