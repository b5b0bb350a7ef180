"""Requests as a model is given them: one, or a batch answered by one call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from gateway.binding import outputs, parameters
from gateway.binding.declaration import Declaration
from gateway.binding.doors import door
from gateway.binding.inputs import Inputs
from gateway.contract import Request
from gateway.errors import AnswerInvalid
from gateway.findings import Finding
from gateway.running import Batch


@dataclass(frozen=True)
class Asked:
    """One request, read: the door its answer leaves by, its parameters, and the arguments that its study gives."""

    request: Request
    door: str
    inputs: Inputs
    given: parameters.Parameters
    arguments: dict[str, Any]

    @classmethod
    def of(cls, request: Request, declaration: Declaration) -> Self:
        """Read a request. Raises ParameterRefused before any file is read, and StudyRefused."""
        wanted, inputs = door(request), Inputs(request)
        given = parameters.read(declaration.parameters, request.json, forbid_unknown=declaration.forbid_unknown)
        with request.run.measure("decode"):
            return cls(request, wanted, inputs, given, inputs.arguments(declaration))

    def predict(self, predict: Callable[..., Any]) -> Any:
        """What a model says of this request alone."""
        return predict(**self.arguments, **parameters.values(self.given))

    def findings(self, returned: Any, declaration: Declaration) -> list[Finding]:
        """What it said, checked. Raises AnswerInvalid."""
        return [*outputs.findings(returned, declaration, self.arguments), *self.inputs.conformance]


def predict_together(predict: Callable[..., Any], asked: Sequence[Asked], batch: Batch) -> list[Any]:
    """What a model says of each request, in one call. Raises AnswerInvalid where it does not say as many things."""
    arguments = {name: [one.arguments[name] for one in asked] for name in asked[0].arguments}
    given = [parameters.values(one.given) for one in asked]
    alike = {name: [one[name] for one in given] for name in given[0]} if batch.mix_parameters else given[0]
    returned = list(predict(**arguments, **alike))
    if len(returned) != len(asked):
        raise AnswerInvalid("", f"A batch of {len(asked)} requests needs as many answers, not {len(returned)}.")
    return returned
