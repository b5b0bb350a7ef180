"""The model's own part of a request: set up, warm up, predict, check; alike in a worker and in a model process."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gateway.config import Settings
from gateway.contract.execution import Execution
from gateway.contract.model import Model
from gateway.contract.requests import BinaryPart, ModelAnswer, Request, Result, answering
from gateway.errors import AnswerInvalid, Cancelled, ModelFailed, Unavailable
from gateway.executors.device_errors import DeviceFailed, DeviceMemoryShort, free_device_memory, of_the_device
from gateway.executors.surroundings import ModelsCode
from gateway.observe.logs import exception_frames
from gateway.protocol.ownership import References, owned, references
from gateway.protocol.response import Serializer, encoded

logger = logging.getLogger("gateway")

DEFAULTS = {
    "processes": "model_processes",
    "max_processes": "max_model_processes",
    "concurrency": "concurrency",
    "max_queue": "max_queue",
    "timeout": "request_timeout",
}
"""The settings that stand in for what a model's Execution leaves out."""
ENDS = "The model tried to end the process."
NO_MEMORY = "The device of this model has too little memory free for this request; try again."
MEMORY_SECONDS = 5
"""Seconds after which to try again where a device had no memory: another process may have finished by then."""


@dataclass(frozen=True)
class AnswerChecks:
    """The rules by which an answer is checked before it leaves: see ``protocol.response.encoded``."""

    serializer: Serializer
    strict: bool
    warn: Callable[[str], None]


def prepare(model: Model, *, warm: bool) -> None:
    """Set a model up, and ``warm`` it by a prediction: no request meets it cold. Raises what the model raises."""
    try:
        with ModelsCode():
            model.setup()
            if warm:
                model.warm_up()
    except Exception:
        raise
    except BaseException as error:
        raise _failure(error, model) from error


def retire(model: Model) -> None:
    """Close a model. Whatever it raises is logged, since others are still to be closed."""
    try:
        with ModelsCode():
            model.close()
    except BaseException as error:
        logger.error("the model on %s was not closed\n%s", model.name, exception_frames(error))


def execution_of(model: Model, settings: Settings) -> Execution:
    """Return the execution options of a model: its own, and the settings where it has none."""
    declared = model.execution
    unset = {name: getattr(settings, of) for name, of in DEFAULTS.items() if getattr(declared, name) is None}
    return replace(declared, **unset)


def batch_key_of(model: Model, request: Request) -> str:
    """Return the key that requests of one batch share; "" where any may, or none are batched."""
    batch = model.execution.batch
    if batch is None or batch.mix_parameters:
        return ""
    return model.batch_key(request)


def answer(model: Model, requests: Sequence[Request], checks: AnswerChecks) -> list[Result | Exception]:
    """Answer each request, several in one call of the model where it takes batches.

    A batch that raises is run again one by one, so that the item at fault fails alone. A DeviceFailed among the
    outcomes says that this process cannot go on.
    """
    with ModelsCode():
        outcomes = _outcomes(model, requests, checks)
    if any(isinstance(outcome, DeviceMemoryShort) for outcome in outcomes):
        free_device_memory()
    return [
        Unavailable(NO_MEMORY, retry_after=MEMORY_SECONDS) if isinstance(outcome, DeviceMemoryShort) else outcome
        for outcome in outcomes
    ]


def _outcomes(model: Model, requests: Sequence[Request], checks: AnswerChecks) -> list[Result | Exception]:
    if model.execution.batch is None:
        return [_one(model, request, checks) for request in requests]
    started = time.perf_counter()
    returned = _predict_batch(model, requests)
    if isinstance(returned, DeviceFailed):
        return [returned for _ in requests]
    if isinstance(returned, Exception):
        return [returned] if len(requests) == 1 else _alone(model, requests, checks)
    seconds = time.perf_counter() - started
    outcomes = [
        _checked(model, request, one, seconds, len(requests), checks)
        for request, one in zip(requests, returned, strict=True)
    ]
    short = [isinstance(outcome, DeviceMemoryShort) and len(requests) > 1 for outcome in outcomes]
    again = iter(_alone(model, [one for one, is_short in zip(requests, short, strict=True) if is_short], checks))
    return [next(again) if is_short else one for one, is_short in zip(outcomes, short, strict=True)]


def _alone(model: Model, requests: Sequence[Request], checks: AnswerChecks) -> list[Result | Exception]:
    """Answer each request outside its batch, with the memory of a device that the batch had taken."""
    outcomes: list[Result | Exception] = []
    for request in requests:
        free_device_memory()
        outcomes += _outcomes(model, [request], checks)
        if isinstance(outcomes[-1], DeviceFailed):
            return [*outcomes, *(outcomes[-1] for _ in requests[len(outcomes) :])]
    return outcomes


def own(outcomes: Sequence[Result | Exception]) -> list[Result | Exception]:
    """The outcomes of one call in memory that the model's next call cannot change.

    Where an answer leaves from memory of this process, it follows on ``answer``, before the model's place is free.
    """
    results = [outcome for outcome in outcomes if isinstance(outcome, Result) and outcome.parts]
    if not results:
        return list(outcomes)
    ours = references(part.data for result in results for part in result.parts)
    return [_owned(outcome, ours) if isinstance(outcome, Result) else outcome for outcome in outcomes]


def _owned(result: Result, ours: References) -> Result | Exception:
    started = time.perf_counter()
    try:
        parts = [BinaryPart(part.media_type, owned(part.data, ours)) for part in result.parts]
    except MemoryError as error:
        return error
    encode = result.phases.get("encode", 0.0) + time.perf_counter() - started
    return replace(result, parts=parts, phases={**result.phases, "encode": encode})


def _predict_batch(model: Model, requests: Sequence[Request]) -> list[ModelAnswer | Exception] | Exception:
    """The answers, or what the model raised."""
    try:
        with answering(requests[0]):
            returned = list(model.predict_batch(requests))
    except BaseException as error:
        return _failure(error, model)
    if len(returned) != len(requests):
        return AnswerInvalid("", f"A batch of {len(requests)} requests needs as many answers, not {len(returned)}.")
    return returned


def _one(model: Model, request: Request, checks: AnswerChecks) -> Result | Exception:
    started = time.perf_counter()
    try:
        with answering(request):
            returned = model.predict(request)
    except BaseException as error:
        return _failure(error, model)
    seconds = time.perf_counter() - started - request.context.waited
    return _checked(model, request, returned, seconds, 1, checks)


def _checked(
    model: Model,
    request: Request,
    returned: ModelAnswer | Exception,
    seconds: float,
    size: int,
    checks: AnswerChecks,
) -> Result | Exception:
    """The answer as it will be sent, or what is wrong with it."""
    if isinstance(returned, Exception):
        return _failure(returned, model)
    if request.cancelled():
        return Cancelled()
    started = time.perf_counter()
    try:
        json_bytes, parts = encoded(returned, serializer=checks.serializer, strict=checks.strict, warn=checks.warn)
    except BaseException as error:  # an answer may be an iterator of the author's, or a class of his own
        return _failure(error, model)
    spent = request.context.spent
    phases = {**spent, "predict": max(0.0, seconds - sum(spent.values())), "encode": time.perf_counter() - started}
    return Result(json_bytes, parts, request.input_digest, seconds, phases, size, returned.card or model.card)


def _failure(error: BaseException, model: Model) -> Exception:
    """The error of a request whose model raised: SystemExit and its like would end the process, not the request."""
    of_device = of_the_device(error)
    if of_device is not None:
        kind = "failed" if isinstance(of_device, DeviceFailed) else "has too little memory"
        logger.warning("the device of the model on %s %s\n%s", model.name, kind, exception_frames(error))
        return of_device
    if isinstance(error, Exception):
        return error
    failed = ModelFailed(ENDS)
    failed.__cause__ = error
    return failed
