"""A typed function or class as a model that the gateway runs: arguments in, findings out, through one of two doors."""

import hashlib
import inspect
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from gateway import __version__
from gateway.binding import parameters
from gateway.binding.bound_request import (
    DICOM_OUTPUT,
    JSON_OUTPUT,
    BoundRequest,
    negotiate_output,
    predict_together,
)
from gateway.binding.content_faults import content_faults, text_faults
from gateway.binding.declaration import read_declaration
from gateway.binding.inputs import Inputs
from gateway.binding.interactions import Interaction
from gateway.binding.nifti_inputs import statements_schema
from gateway.binding.requirements import Requires
from gateway.binding.warmup import warmup_request
from gateway.binding.weights import Weights, expected_digests
from gateway.contract.execution import Batch, Card, Execution, HealthState
from gateway.contract.findings import Finding, SecondaryCapture, StructuredReport
from gateway.contract.model import Model, ModelDescription
from gateway.contract.requests import JSON, EncodedAnswer, ModelAnswer, Provenance, Request, answering
from gateway.errors import AnswerInvalid, GatewayError, ModelFailed, RequestError, RunRequired, StudyRefused
from gateway.protocol.answers import answer, dicom_answer
from gateway.protocol.response import encoded
from gateway.protocol.serializer import InferenceSerializer

logger = logging.getLogger("gateway")


@dataclass(frozen=True)
class Options:
    """Options of a model, beside its signature.

    ``weights`` are the files it loads, or a mapping of them to the sha256 they must have. ``deterministic`` says that
    the same input gives the same answer. ``research`` marks what it makes as not for clinical use. ``config`` is what a
    class finds as ``self.config``, over the items of its own ``config``. ``label_maps`` writes label masks as label map
    SEG, which few viewers read yet, instead of a binary segment for each label.
    """

    version: str = ""
    weights: Iterable[str | Path] | Mapping[str | Path, str] = ()
    deterministic: bool = False
    forbid_unknown: bool = False
    requires: Requires | None = None
    research: bool = True
    config: Mapping[str, Any] | None = None
    label_maps: bool = False
    execution: Execution = Execution()


class TypedModel(Model):
    """A function, or a class with ``predict`` and where it wants them ``setup`` and ``close``, as a model.

    ``name`` is how logs call it. Raises TypeError for a signature that declares no model.
    """

    def __init__(self, name: str, target: Callable[..., Any], options: Options | None = None) -> None:
        self.name = name
        self.options = options or Options()
        self.execution = self.options.execution
        self.research, self.label_maps = self.options.research, self.options.label_maps
        self.target: Callable[..., Any] = target
        self.needs_loading = inspect.isclass(target) or bool(self.options.weights) or callable(self.execution.warm_up)
        self.health = HealthState.STARTING
        self.declaration = read_declaration(
            target,
            requires=self.options.requires,
            forbid_unknown=self.options.forbid_unknown,
            batch=self.options.execution.batch,
        )
        self.interactive = self.declaration.interactive
        self.list_parameters = parameters.lists(self.declaration.parameters)
        self._lock = threading.Lock()
        self._instance: Any = None
        self._predict: Callable[..., Any] = target
        self._weights = Weights({}, {})
        self.model_digest = ""

    def setup(self) -> None:
        """Hash the weights, make the instance of a class and set it up, once; a second call waits for the first.

        Raises what the model's ``setup`` raises, ModelFailed where it failed before, or a weights file is another.
        """
        with self._lock:
            if self.health is HealthState.FAILED:
                raise ModelFailed("This model could not be set up; the gateway's log says why.")
            if self.health is HealthState.STARTING:
                try:
                    self._load()
                except BaseException:
                    self.health = HealthState.FAILED
                    raise
                self.health = HealthState.READY

    def _load(self) -> None:
        self._weights = Weights.load(self.options.weights)
        if inspect.isclass(self.target):
            self._instance = self.target()
            if self.options.config is not None:
                self._instance.config = {**getattr(self._instance, "config", {}), **self.options.config}
            _call(self._instance, "setup")
            self._predict = self._instance.predict
        self._weights.check()
        self.model_digest = self.digest()

    def warm_up(self) -> None:
        """Predict once, on a phantom that fits the declaration or as the author says. Raises what the model raises.

        Where the phantom will not do, since a description or a parameter is asked for, the model stays cold.
        An interactive model is warmed up to its first question.
        """
        wanted = self.execution.warm_up
        if callable(wanted):
            wanted(self._predict)
        elif wanted and (request := warmup_request(self.declaration)) is not None:
            try:
                with answering(request):
                    self._predict_once(request)
            except RunRequired:  # it has come to its first question, and nobody is there to answer
                return
            except RequestError as error:
                logger.info("the model on %s was not warmed up: %s", self.name, error.code)

    def _predict_once(self, request: Request) -> None:
        if self.execution.batch is None:
            self.predict(request)
        elif isinstance(outcome := self.predict_batch([request])[0], Exception):
            raise outcome

    def close(self) -> None:
        """Close the instance of a class; the next use sets it up anew. One that is still loading is not waited for."""
        if self.health is not HealthState.READY:
            return
        with self._lock:
            instance, self._instance = self._instance, None
            self.health = HealthState.STARTING
            _call(instance, "close")

    def predict(self, request: Request) -> ModelAnswer:
        """Answer one request in protocol 1.0, or in DICOM objects where it asks for them.

        Raises ParameterRefused, StudyRefused, AnswerInvalid, ModelFailed, and what the model raises.
        """
        bound = BoundRequest.of(request, self.declaration)
        self._ready()
        return self._answer(bound, self._returned(bound))

    def _returned(self, bound: BoundRequest) -> Any:
        """Return what the model returns, at the end of its interaction where it has one."""
        returned = bound.predict(self._predict)
        if self.interactive and inspect.isgenerator(returned):
            return Interaction(bound, self.declaration, partial(self._shown, bound)).follow(returned)
        return returned

    def _shown(self, bound: BoundRequest, finding: Finding) -> EncodedAnswer:
        """Return a finding that is shown with a question, in the form of an answer. Raises AnswerInvalid."""
        shown = self._answer(replace(bound, output=JSON_OUTPUT), finding)
        return encoded(shown, serializer=InferenceSerializer(), strict=True, warn=logger.warning)

    def predict_batch(self, requests: Sequence[Request]) -> list[ModelAnswer | Exception]:
        """Answer several requests in one call of the model: for each an answer, or the error that is its own.

        Raises what the model raises, and AnswerInvalid where it does not return one thing for each.
        """
        self._ready()
        read = [_attempt(partial(BoundRequest.of, request, self.declaration)) for request in requests]
        taken = [one for one in read if isinstance(one, BoundRequest)]
        batch = self.execution.batch or Batch(len(requests))
        returned = iter(predict_together(self._predict, taken, batch) if taken else [])
        return [
            _attempt(partial(self._answer, one, next(returned))) if isinstance(one, BoundRequest) else one
            for one in read
        ]

    def identify(self, request: Request) -> tuple[str, str] | None:
        """Return the output form and the digest of the parameters, which tell apart answers to the same instances.

        None for an interactive model, whose answers depend on its caller's. Raises ParameterRefused.
        """
        if self.interactive:
            return None
        return negotiate_output(request), parameters.digest(self._parameters(request))

    def digest(self) -> str:
        """sha256 over all that makes this model what it is: source, version, weights and config."""
        parts = {
            "source": source_digest(self.target),
            "version": self.options.version,
            "weights": list(self._weights.digests.values()),
            "config": getattr(self._instance, "config", {}),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def card(self) -> Card:
        """The model in names and digests; of one that needs loading, the digests once it is set up."""
        if self.health is HealthState.STARTING and not self.needs_loading:
            self.setup()  # hashes the source: an answer from before a restart is found by its digest
        return self._card("")

    def _card(self, parameters_digest: str) -> Card:
        return Card(
            name=self.declaration.name,
            version=self.options.version,
            model_digest=self.model_digest,
            weights_digest=self._weights.digest,
            parameters_digest=parameters_digest,
            deterministic=self.options.deterministic,
        )

    def describe(self) -> ModelDescription:
        """Return the declaration in words."""
        declaration = self.declaration
        return ModelDescription(
            name=declaration.name,
            text=declaration.description,
            sentences=list(declaration.sentences()),
            arguments=[one.describe() for one in declaration.inputs if one.type is not Request],
            findings=[one.__name__ for one in declaration.outputs],
        )

    def parameters_schema(self, reference: str) -> JSON:
        """Return the JSON Schema of the parameters, and of the key for the form of the answer."""
        schema = self.declaration.parameters.model_json_schema(ref_template=reference)
        schema["additionalProperties"] = not self.declaration.forbid_unknown
        schema.setdefault("properties", {})[parameters.OUTPUT] = {
            "enum": [JSON_OUTPUT, DICOM_OUTPUT],
            "default": JSON_OUTPUT,
            "description": "The form of the answer: JSON and masks, or DICOM objects.",
        }
        schema["properties"] |= statements_schema(self.declaration)
        return schema

    def weights_files(self) -> Mapping[Path, str]:
        """Return the files of ``Options.weights``, each with the sha256 that it must have, "" for any."""
        return expected_digests(self.options.weights)

    def fresh(self, name: str) -> "TypedModel":
        """See ``Model.fresh``."""
        return TypedModel(name, self.target, self.options)

    def batch_key(self, request: Request) -> str:
        """Return the key that requests of one batch share: the digest of their parameters. Raises ParameterRefused."""
        return parameters.digest(self._parameters(request))

    def findings(self, request: Request) -> list[Finding]:
        """Return the findings of a request, before any output form; an implied ``of`` is filled in."""
        bound = BoundRequest.of(request, self.declaration)
        self._ready()
        return bound.findings(self._returned(bound), self.declaration)

    def _parameters(self, request: Request) -> parameters.Parameters:
        return parameters.read(
            self.declaration.parameters, request.json, forbid_unknown=self.declaration.forbid_unknown
        )

    def _answer(self, bound: BoundRequest, returned: Any) -> ModelAnswer:
        """Return what the model said in the form that the request asks for; raise an error that it returned."""
        if isinstance(returned, Exception):
            raise returned
        found, inputs = bound.findings(returned, self.declaration), bound.inputs
        provenance = self._provenance(bound.request, bound.given)
        card = self._card(provenance.parameters_digest)
        faults = list(content_faults(found))
        if bound.output == DICOM_OUTPUT:
            faults += text_faults(found)
            with bound.request.context.measure("encode"), _blaming(faults):
                datasets = _objects(found, inputs, provenance, self.label_maps)
            return ModelAnswer(*dicom_answer(datasets, found), card, faults)
        finished = [_finished(finding, inputs, provenance) for finding in found]
        return ModelAnswer(*answer(finished), card, faults)

    def _ready(self) -> None:
        if self.health is not HealthState.READY:
            self.setup()
        self._weights.check()

    def _provenance(self, request: Request, given: parameters.Parameters) -> Provenance:
        return Provenance(
            model_name=self.declaration.name,
            model_version=self.options.version,
            input_digest=request.input_digest,
            parameters_digest=parameters.digest(given),
            received=request.received,
            model_digest=self.model_digest,
            research=self.research,
            gateway_version=__version__,
        )


def _call(instance: Any, verb: str) -> None:
    """Call a method of an author's class, which may leave it out."""
    method = getattr(instance, verb, None)
    if method is not None:
        method()


@contextmanager
def _blaming(faults: Sequence[AnswerInvalid]) -> Iterator[None]:
    """Raise the first of ``faults`` where findings that have them cannot be written."""
    try:
        yield
    except Exception as error:
        if faults and not isinstance(error, GatewayError):
            raise faults[0] from error
        raise


def _attempt(act: Callable[[], Any]) -> Any:
    """Return the result of ``act``, or the error that it raises: that of one request, and not of the whole batch."""
    try:
        return act()
    except Exception as error:
        return error


def _objects(found: Sequence[Finding], inputs: Inputs, provenance: Provenance, label_maps: bool = False) -> list[Any]:
    """DICOM datasets of findings (``gateway.dicom.writing.objects``, which costs the import of highdicom).

    Raises StudyRefused for a request of tensors, NIfTI or attachments alone, which belong to no study.
    """
    if not inputs.instances:
        kind = "a tensor" if inputs.tensors.names else "a NIfTI file" if inputs.nifti.files else "an attachment"
        raise StudyRefused(
            f"The answer is a DICOM object, which belongs to a study, and {kind} has none: send DICOM files.",
            private=kind,
        )
    from gateway.dicom.writing.objects import objects

    return list(objects(found, source=inputs.instances, provenance=provenance, label_maps=label_maps))


def _finished(finding: Finding, inputs: Inputs, provenance: Provenance) -> Finding:
    """A picture and a list of measurements are DICOM in protocol 1.0 too; all else stays as it is."""
    if isinstance(finding, SecondaryCapture) and not hasattr(finding.picture, "SOPClassUID"):
        return replace(finding, picture=_objects([finding], inputs, provenance)[0])
    if isinstance(finding, StructuredReport) and not hasattr(finding.content, "SOPClassUID"):
        return replace(finding, content=_objects([finding], inputs, provenance)[0])
    return finding


def source_digest(target: Callable[..., Any]) -> str:
    """sha256 in hexadecimal over the source text of a function or class; "" where there is none to read."""
    try:
        return hashlib.sha256(inspect.getsource(target).encode()).hexdigest()
    except (OSError, TypeError):
        return ""
