"""The one shape in which the gateway runs a model, and the plain handler in that shape."""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.contract.execution import Card, Execution, HealthState
from gateway.contract.requests import JSON, Handler, ModelAnswer, Request
from gateway.errors import AnswerInvalid, GatewayError


@dataclass(frozen=True, kw_only=True)
class Argument:
    """An argument that a model takes from a request: its name, and the name of its type, such as Volume.

    ``many`` is True for a list, ``optional`` where the request may be without.
    """

    name: str
    type: str
    many: bool = False
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """A model in words, for OpenAPI and the doctor: its name, its author's text, and what it takes and answers.

    ``arguments``, and ``findings``, the names of its classes of findings, are None where the model declares none.
    """

    name: str
    text: str = ""
    sentences: Sequence[str] = ()
    arguments: Sequence[Argument] | None = None
    findings: Sequence[str] | None = None


class Model:
    """A model on one route. ``predict`` is all that it must have; the rest has defaults.

    ``name`` stands in logs and errors. ``setup`` and ``close`` are called once each by the process that runs it,
    ``predict`` and ``predict_batch`` by many threads.
    """

    name: str
    execution: Execution = Execution()
    """How it wants to be run."""
    target: Callable[..., Any] | None = None
    """The function or class that it was made of."""
    needs_loading: bool = False
    """True where ``setup`` or ``warm_up`` has work to do before the first request."""
    interactive: bool = False
    """True where it may ask its caller while it works: only a run or a session can answer then."""
    durable: bool = True
    """True where a stored request can be answered later, as a run."""
    research: bool = True
    """True where what it makes is marked as not for clinical use."""
    label_maps: bool = False
    """True where label masks are written as label map SEG."""
    takes_any_file: bool = False
    """True where the body of a request may be its one file, of any media type, which is answered with a file."""
    problems: tuple[type[GatewayError], ...] = ()
    """Errors that it raises beside those of every model, for OpenAPI."""
    list_parameters: frozenset[str] = frozenset()
    """The names of parameters that are lists: a form that has one text for such a parameter means a list of it."""
    health: HealthState = HealthState.READY
    """Its own state: starting until it is set up, ready, or failed."""

    def setup(self) -> None:
        """Load what the model needs. Raises what the author's code raises."""

    def warm_up(self) -> None:
        """Predict once before the first request. Raises what the author's code raises."""

    def close(self) -> None:
        """Free what ``setup`` loaded."""

    def predict(self, request: Request) -> ModelAnswer:
        """Answer one request. Raises GatewayError to refuse it, and what the author's code raises."""
        raise NotImplementedError

    def predict_batch(self, requests: Sequence[Request]) -> Sequence[ModelAnswer | Exception]:
        """Answer requests of one batch key: for each an answer, or the error that is its own."""
        return [self.predict(request) for request in requests]

    def batch_key(self, request: Request) -> str:
        """Return what requests must have in common to share a batch: by default all of their JSON."""
        return json.dumps(request.json, sort_keys=True)

    @property
    def card(self) -> Card:
        """The model in names and digests."""
        return Card(name=self.name)

    def identify(self, request: Request) -> tuple[str, str] | None:
        """Return the form of the answer and the digest of the parameters, which tell answers to one study apart.

        None for a model whose answers are not cached. Raises ParameterRefused.
        """
        return None

    def describe(self) -> ModelDescription:
        """Return the model in words."""
        return ModelDescription(name=self.name)

    def parameters_schema(self, reference: str) -> JSON:
        """Return the JSON Schema of the request's JSON; ``reference`` is pydantic's ``ref_template``."""
        return {"type": "object", "description": "Whatever the handler reads."}

    def weights_files(self) -> Mapping[Path, str]:
        """Return the files that the model loads, each with the sha256 that it must have, "" for any."""
        return {}

    def fault(self) -> str:
        """Return why it could not be set up, for the doctor, which sets up no model; "" where nothing is known."""
        return ""

    def fresh(self, name: str) -> "Model | None":
        """Return the same model under another name, not set up; None for one that cannot be made twice."""
        return None


class PlainModel(Model):
    """A plain handler as a model; the handler is called with three positional arguments."""

    def __init__(self, name: str, handler: Handler, execution: Execution | None = None) -> None:
        self.name = name
        self.execution = execution or Execution()
        self.target = self.handler = handler

    def predict(self, request: Request) -> ModelAnswer:
        """Call the handler as existing services expect. Raises AnswerInvalid where it returns no pair."""
        return ModelAnswer.of(self.handler(request.json, request.instances, request.input_digest))

    def predict_batch(self, requests: Sequence[Request]) -> Sequence[ModelAnswer | Exception]:
        """Call a handler that declared a ``Batch``: three lists in, one pair for each request out."""
        handler: Callable[..., Sequence[Any]] = self.handler
        returned = handler(
            [request.json for request in requests],
            [request.instances for request in requests],
            [request.input_digest for request in requests],
        )
        return [_answer(pair) for pair in returned]

    def describe(self) -> ModelDescription:
        """See ``Model.describe``."""
        return ModelDescription(name="a plain function", text=inspect.getdoc(inspect.unwrap(self.handler)) or "")

    def fresh(self, name: str) -> "PlainModel":
        """See ``Model.fresh``."""
        return PlainModel(name, self.handler, self.execution)


def _answer(returned: Any) -> ModelAnswer | Exception:
    """The answer of one item of a batch; an exception in its place is that item's error."""
    if isinstance(returned, Exception):
        return returned
    try:
        return ModelAnswer.of(returned)
    except AnswerInvalid as error:
        return error


def adapt(name: str, handler: Handler, execution: Execution | None = None) -> PlainModel:
    """Return a plain function as a model."""
    return PlainModel(name, handler, execution)
