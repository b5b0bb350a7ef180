"""The members of a request's JSON against a wrapper's declared parameters."""

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from gateway.errors import StudyRefused

WORDS = {"true": True, "false": False, "1": True, "0": False}


class WrapperParameterRefused(StudyRefused):
    """A parameter is missing, of another type or out of bounds."""

    code = "parameter-refused"
    title = "A parameter does not fit"


def read_params(fields: Iterable[Any], params: dict[str, Any]) -> dict[str, Any]:
    """``params`` with each declared one checked, and read from text where it is declared a number or a truth value.

    What is not declared is handed on as it is. Raises ParameterRefused, whose sentence names the parameter and its
    rule, never its value.
    """
    read = dict(params)
    for field in fields:
        if field.key in params:
            read[field.key] = _value(field, params[field.key])
        elif field.required:
            raise WrapperParameterRefused(f"The parameter {field.key} is missing.")
    return read


def _value(field: Any, given: Any) -> Any:
    value = READERS[field.data_type](given)
    if value is None:
        raise WrapperParameterRefused(f"The parameter {field.key} should be of type {field.data_type}.")
    if field.data_type == "boolean":
        return value
    if field.enums:
        _require(value in field.enums, field, f"one of {', '.join(map(str, field.enums))}")
    elif field.data_type == "string":
        rule = f"{field.min_length} to {field.max_length} characters long"
        _require(field.min_length <= len(value) <= field.max_length, field, rule)
    else:
        _require(field.minimum <= value <= field.maximum, field, f"from {field.minimum} to {field.maximum}")
    return value


def _require(holds: bool, field: Any, rule: str) -> None:
    if not holds:
        raise WrapperParameterRefused(f"The parameter {field.key} should be {rule}.")


def _text(given: Any) -> str | None:
    return given if isinstance(given, str) else None


def _boolean(given: Any) -> bool | None:
    return given if isinstance(given, bool) else WORDS.get(given.lower()) if isinstance(given, str) else None


def _integer(given: Any) -> int | None:
    number = _number(given)
    return int(number) if number is not None and number == number // 1 else None


def _number(given: Any) -> int | float | None:
    """A number, or one written as text: clients of the command line send every option as text."""
    if isinstance(given, str):
        return _parsed(given)
    return given if isinstance(given, int | float) and not isinstance(given, bool) else None


def _parsed(text: str) -> int | float | None:
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        return float(text)
    return None


READERS: dict[str, Callable[[Any], Any]] = {
    "string": _text,
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
}
