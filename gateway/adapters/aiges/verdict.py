"""The local run: a wrapper is started, called with its own test values, judged and closed, without a server."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from gateway.adapters.aiges.streaming import converse
from gateway.adapters.aiges.wrapper_answers import Item, VerbFailed, WrapperError
from gateway.adapters.aiges.wrapper_class import at_home
from gateway.adapters.aiges.wrapper_inputs import sample_list
from gateway.adapters.aiges.wrapper_model import WrapperModel, load
from gateway.adapters.aiges.wrapper_parameters import read_params
from gateway.contract.requests import JSON
from gateway.errors import AnswerInvalid, GatewayError
from gateway.protocol.jsontext import Report


@dataclass(frozen=True)
class WrapperVerdict:
    """The verdict on a wrapper's contract, in one sentence."""

    good: bool
    sentence: str


def run(path: Path, *, strict: bool = True) -> WrapperVerdict:
    """Judge the wrapper in the file ``path``, in its own folder, as AIGES does. Raises OSError.

    ``strict`` refuses an answer that breaks the contract, as a route does; otherwise the verdict names its first fault.
    """
    path = path.resolve(strict=True)
    with at_home(path.parent):
        try:
            model = load(path.name, path)
        except (Exception, SystemExit) as error:
            return WrapperVerdict(False, f"{path.name} cannot be loaded. {type(error).__name__}: {error}")
        return judge(model, strict=strict)


def judge(model: WrapperModel, *, strict: bool) -> WrapperVerdict:
    """Start the wrapper, call it, and close it: the verdict is that of the first step that fails."""
    model.setup()
    try:
        sentence = _call(model, strict)
    except GatewayError as error:
        model.close()
        return WrapperVerdict(False, error.detail or error.title)
    except Exception as error:
        model.close()
        verb = "The wrapper" if model.streams else "wrapperOnceExec"
        return WrapperVerdict(False, f"{verb} raised {type(error).__name__}: {error}")
    refusal = model.finish()
    return WrapperVerdict(False, refusal.detail) if refusal else WrapperVerdict(True, sentence)


def _call(model: WrapperModel, strict: bool) -> str:
    """Return the verdict on the wrapper's answers to its own test values. Raises what makes it a bad one."""
    model.check_started()
    faults = list[AnswerInvalid]()
    try:
        answers = list(_answers(model, _refuse if strict else faults.append))
    except WrapperError as error:  # a wrapper may refuse its test values: the contract holds
        if isinstance(error, VerbFailed) or error.__cause__ is not None:
            raise error.__cause__ or error from None
        return f"the wrapper keeps its contract; it answered with error code {error.members['error_code']}"
    keys = ", ".join(dict.fromkeys(item.key for items in answers for item in items))
    verdict = f"GATEWAY_STRICT=0 accepts a fault. {faults[0].detail}" if faults else "the wrapper keeps its contract;"
    return f"{verdict} it answered with {keys}"


def _answers(model: WrapperModel, report: Report) -> Iterator[list[Item]]:
    params, request = _test_params(model), sample_list(model.inputs)
    if not model.streams:
        yield model.exec(params, request, report=report)
        return
    with closing(converse(model, params, request, report=report)) as stream:
        yield from stream


def _refuse(fault: AnswerInvalid) -> None:
    raise fault


def _test_params(model: WrapperModel) -> JSON:
    """Return the declared test values; one that is missing and not required is not checked."""
    values = {field.key: field.test_value for field in model.params}
    fields = [field for field in model.params if field.required or field.test_value not in ("", 0)]
    return read_params(fields, values)
