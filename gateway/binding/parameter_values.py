"""One value of a request's JSON -> a parameter: bounded in its faults, and read as JSON Schema reads it.

A string is read as what the parameter is. Else JSON's types hold: a truth value is no number and a number no truth
value, 1.0 is an integer (JSON Schema 2020-12, Core 4.2.3), and NaN and infinity are no numbers.
"""

import math
from collections.abc import Iterable
from itertools import count
from typing import Any, LiteralString, NamedTuple

from pydantic import GetCoreSchemaHandler, ValidationError
from pydantic_core import PydanticCustomError, core_schema, to_jsonable_python

from gateway.errors import BrokenJSON
from gateway.protocol.request import count_values, parse_value

MAX_COUNTED = 1_000
"""Faults of one parameter that are looked at; each takes 1 KB, and a person reads the first few."""
MAX_TEXT_VALUES = 100_000
"""Values of JSON within a text: a contour of 50,000 points. Escapes hide them where a JSON part is counted."""

_BOUNDABLE = {
    "list": core_schema.ListSchema,
    "tuple": core_schema.TupleSchema,
    "set": core_schema.SetSchema,
    "frozenset": core_schema.FrozenSetSchema,
    "dict": core_schema.DictSchema,
}
_CONTAINERS = frozenset(name for name, shape in _BOUNDABLE.items() if "fail_fast" in shape.__annotations__)
"""Containers that this pydantic can stop reading at their first fault; before 2.13 it could not for a dict."""
_NOT_SCHEMAS = frozenset({"metadata", "serialization", "default"})


class FirstFault:
    """Annotates a parameter whose containers are read up to their first fault: 200,000 faults would take 200 MB."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return _bounded(handler(source))  # type: ignore[no-any-return]


def _bounded(schema: Any) -> Any:
    if isinstance(schema, (list, tuple)):
        return type(schema)(map(_bounded, schema))
    if not isinstance(schema, dict):
        return schema
    inner = {name: value if name in _NOT_SCHEMAS else _bounded(value) for name, value in schema.items()}
    kind = schema.get("type")
    return inner | {"fail_fast": True} if isinstance(kind, str) and kind in _CONTAINERS else inner


def read_value(value: Any, handler: Any) -> Any:
    """Read a value; a string as JSON where the parameter does not take it as it is. For ``WrapValidator``."""
    try:
        return _read(value, handler)
    except ValidationError:
        if not isinstance(value, str):
            raise
        inner = _parsed(value)
        if isinstance(inner, str):
            raise
        return _read(inner, handler)


def _parsed(text: str) -> Any:
    """The JSON in ``text``; the text itself where it is none."""
    if count_values(text) > MAX_TEXT_VALUES:
        raise PydanticCustomError("too_many_values", "too many values", {"most": MAX_TEXT_VALUES})
    try:
        return parse_value(text)
    except BrokenJSON:
        return text


def _read(sent: Any, handler: Any) -> Any:
    try:
        value = handler(sent)
    except ValidationError as error:
        if error.error_count() > MAX_COUNTED:
            raise PydanticCustomError("too_many_faults", "too many", {"count": error.error_count()}) from None
        raise
    plain = to_jsonable_python(value, by_alias=True, bytes_mode="base64", serialize_unknown=True)
    misread = _misread(sent, plain)
    if misread is not None:
        raise PydanticCustomError(misread.kind, "misread", {"at": misread.place})
    return value


class _Misread(NamedTuple):
    """An error type of pydantic, and the place below the parameter."""

    kind: LiteralString
    place: tuple[str | int, ...]


def _misread(sent: Any, plain: Any, place: tuple[str | int, ...] = ()) -> _Misread | None:
    """Find a truth value that pydantic read as a number, a number as a truth value, a text as NaN or infinity."""
    if isinstance(sent, dict) and isinstance(plain, dict):
        pairs: Iterable[Any] = ((name, item, plain[name]) for name, item in sent.items() if name in plain)
    elif isinstance(sent, list) and isinstance(plain, list):
        pairs = zip(count(), sent, plain, strict=False)
    else:
        return _misread_scalar(sent, plain, place)
    for name, item, read in pairs:
        if type(item) is not type(read) or type(item) in (dict, list):
            misread = _misread(item, read, (*place, name))
            if misread is not None:
                return misread
    return None


def _misread_scalar(sent: Any, plain: Any, place: tuple[str | int, ...]) -> _Misread | None:
    if isinstance(sent, str):
        infinite = isinstance(plain, float) and not math.isfinite(plain)
        return _Misread("finite_number", place) if infinite else None
    if not (isinstance(sent, (bool, int, float)) and isinstance(plain, (bool, int, float, str))):
        return None
    if isinstance(sent, bool) == isinstance(plain, bool):
        return None
    kinds: dict[type, LiteralString] = {bool: "bool_type", int: "int_type"}
    return _Misread(kinds.get(type(plain), "float_type"), place)
