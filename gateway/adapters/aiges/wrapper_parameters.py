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
    """Return ``params``, the declared ones checked, and numbers and truth values read from text.

    Other members stay as they are. Raises WrapperParameterRefused, which names the parameter and its rule, never its
    value.
    """
    read = dict(params)
    for field in fields:
        if field.key in params:
            read[field.key] = _value(field, params[field.key])
        elif field.required:
            raise WrapperParameterRefused(f"The parameter {field.key} is missing.")
    return read


def _value(field: Any, member: Any) -> Any:
    value = READERS[field.data_type](member)
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


def _text(member: Any) -> str | None:
    return member if isinstance(member, str) else None


def _boolean(member: Any) -> bool | None:
    return member if isinstance(member, bool) else WORDS.get(member.lower()) if isinstance(member, str) else None


def _integer(member: Any) -> int | None:
    number = _number(member)
    return int(number) if number is not None and number == number // 1 else None


def _number(member: Any) -> int | float | None:
    """Return a number, also of text: clients of the command line send every option as text."""
    if isinstance(member, str):
        return _parsed(member)
    return member if isinstance(member, int | float) and not isinstance(member, bool) else None


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
