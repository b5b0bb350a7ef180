"""The local run: a wrapper started, asked with its own test values, judged and closed, without a server."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.adapters.aiges.streaming import converse
from gateway.adapters.aiges.wrapper_answers import VerbFailed, WrapperError
from gateway.adapters.aiges.wrapper_class import at_home
from gateway.adapters.aiges.wrapper_inputs import sample_list
from gateway.adapters.aiges.wrapper_model import WrapperModel, load
from gateway.adapters.aiges.wrapper_parameters import read_params
from gateway.contract.requests import JSON
from gateway.errors import AnswerInvalid, GatewayError


@dataclass(frozen=True)
class WrapperVerdict:
    """The verdict on a wrapper's contract, in one sentence."""

    good: bool
    sentence: str


def run(path: Path) -> WrapperVerdict:
    """Judge the wrapper in the file ``path``, in its own folder, as AIGES does. Raises OSError."""
    path = path.resolve(strict=True)
    with at_home(path.parent):
        try:
            model = load(path.name, path)
        except (Exception, SystemExit) as error:
            return WrapperVerdict(False, f"{path.name} cannot be loaded. {type(error).__name__}: {error}")
        return judge(model)


def judge(model: WrapperModel) -> WrapperVerdict:
    """Start, ask, and close: the verdict is of the first step that fails."""
    model.setup()
    try:
        said = _ask(model)
    except GatewayError as error:
        model.close()
        return WrapperVerdict(False, error.detail or error.title)
    except Exception as error:
        model.close()
        return WrapperVerdict(False, f"wrapperOnceExec raised {type(error).__name__}: {error}")
    refusal = model.finish()
    return WrapperVerdict(False, refusal.detail) if refusal else WrapperVerdict(True, said)


def _ask(model: WrapperModel) -> str:
    model.check_started()
    params = _test_params(model)
    request = sample_list(model.inputs)
    try:
        answers = list(_answers(model, params, request))
    except WrapperError as error:  # a wrapper may refuse its test values: the contract holds
        if isinstance(error, VerbFailed) or error.__cause__ is not None:
            raise error.__cause__ or error from None
        return f"the wrapper keeps its contract; it answered with error code {error.members['error_code']}"
    keys = ", ".join(dict.fromkeys(item.key for items in answers for item in items))
    return f"the wrapper keeps its contract; it answered with {keys}"


def _answers(model: WrapperModel, params: JSON, request: Any) -> Iterator[Any]:
    if not model.streams:
        yield model.exec(params, request, report=_refuse)
        return
    with closing(converse(model, params, request, report=_refuse)) as stream:
        yield from stream


def _refuse(fault: AnswerInvalid) -> None:
    raise fault


def _test_params(model: WrapperModel) -> JSON:
    """The declared test values; one that was left out and is not required is not checked."""
    values = {field.key: field.test_value for field in model.params}
    given = [field for field in model.params if field.required or field.test_value not in ("", 0)]
    return read_params(given, values)
