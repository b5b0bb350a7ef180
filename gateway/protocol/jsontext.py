"""An answer's JSON -> the bytes that are sent, encoded once."""

import json
import math
from collections.abc import Callable
from functools import singledispatch
from typing import Any

import numpy

from gateway.contract.requests import JSON
from gateway.errors import AnswerInvalid
from gateway.protocol.faults import pointer

Report = Callable[[AnswerInvalid], None]
"""The handler of a fault of content: it raises when strict, else it logs."""

Path = tuple[str | int, ...]


def encode(answer: JSON, report: Report) -> bytes:
    """Write ``answer`` as ``json.dumps`` does by default (ASCII, ``", "`` and ``": "``); numpy scalars become numbers.

    NaN, infinities and halves of surrogate pairs go to ``report``, then out as Python's json writes them. What JSON
    cannot hold at all raises AnswerInvalid with a pointer to it.
    """
    try:
        text = json.dumps(answer, allow_nan=False)
        clean = "\\ud" not in text or not has_half_surrogate(answer)
    except (TypeError, ValueError, RecursionError):
        clean = False
    return text.encode("ascii") if clean else _encode_slowly(answer, report)


def has_half_surrogate(value: Any) -> bool:
    """Return True if a text in ``value`` has a lone surrogate, which UTF-8 cannot encode (RFC 3629 3)."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _encode_slowly(answer: JSON, report: Report) -> bytes:
    """Walk the answer: only here, after a failure, is it worth knowing where each value lies."""
    try:
        return json.dumps(_plain(answer, (), report)).encode("ascii")
    except RecursionError:
        raise AnswerInvalid("", "The answer is nested too deep, or contains itself.") from None
    except ValueError:
        raise AnswerInvalid("", "The answer holds an integer with too many digits for JSON.") from None


@singledispatch
def _plain(value: Any, path: Path, report: Report) -> Any:
    """The same value in types that json writes; a row for each type below."""
    if value is None or isinstance(value, int):
        return value
    raise AnswerInvalid(pointer(path), f"A {type(value).__name__} cannot be written as JSON.")


@_plain.register
def _(value: dict, path: Path, report: Report) -> Any:  # type: ignore[type-arg]
    names = [_name(key, path, report) for key in value]
    return {name: _plain(item, (*path, str(name)), report) for name, item in zip(names, value.values(), strict=True)}


@_plain.register(list)
@_plain.register(tuple)
def _(value: Any, path: Path, report: Report) -> Any:
    return [_plain(item, (*path, index), report) for index, item in enumerate(value)]


@_plain.register
def _(value: str, path: Path, report: Report) -> Any:
    if any("\ud800" <= character <= "\udfff" for character in value):
        report(AnswerInvalid(pointer(path), "The text holds half of a surrogate pair, which is no character."))
    return value


@_plain.register
def _(value: float, path: Path, report: Report) -> Any:
    if not math.isfinite(value):
        report(AnswerInvalid(pointer(path), "JSON has no NaN and no infinity; leave the member out or send a number."))
    return value


@_plain.register
def _(value: numpy.generic, path: Path, report: Report) -> Any:
    item = value.item()
    if isinstance(item, numpy.generic):  # a long double has no Python twin
        raise AnswerInvalid(pointer(path), f"A {type(value).__name__} cannot be written as JSON; use float().")
    return _plain(item, path, report)


@_plain.register
def _(value: numpy.ndarray, path: Path, report: Report) -> Any:
    if value.ndim == 0:
        return _plain(value[()], path, report)
    raise AnswerInvalid(pointer(path), "A numpy array cannot be written as JSON; use its .tolist().")


def _name(key: Any, path: Path, report: Report) -> Any:
    key = key.item() if isinstance(key, numpy.generic) else key
    if key is None or isinstance(key, (str, int, float)):
        return _plain(key, path, report)
    raise AnswerInvalid(pointer(path), "A name in a JSON object should be text.")
