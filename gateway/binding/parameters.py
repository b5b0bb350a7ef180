"""A model's parameters: declared in its signature, read from the request's JSON, refused without quoting a value.

Existing clients send every option as a string, so a string is read as what the parameter is: ``'-500'`` as -500.0,
``'true'`` as True, ``'2'`` as one of 1, 2 and 3.
"""

import hashlib
import inspect
import json
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator, create_model
from pydantic.errors import PydanticUserError
from pydantic_core import ErrorDetails

from gateway.binding.parameter_values import FirstFault, read_value
from gateway.contract.requests import JSON, MODALITY, VOLUMES
from gateway.errors import MAX_FAULTS, ParameterRefused
from gateway.protocol.faults import SENTENCES, pointer
from gateway.protocol.tensors import MEMBER

OUTPUT = "output"
"""The key of a typed model's request that chooses the door: ``dicom``, or ``json`` as by default."""
GATEWAY_KEYS = frozenset({OUTPUT, MEMBER, MODALITY, VOLUMES, "studyPath"})
"""Keys that the gateway reads itself; a model that forbids unknown keys does not forbid them."""
LISTS = frozenset({list, tuple, set, frozenset, Sequence})
"""Types of a parameter that JSON has as a list."""
LONGEST_KEY = 64
"""Characters of a key that are sent back to its sender."""

_SENTENCES = SENTENCES | {
    "less_than": "{it} should be less than {lt}.",
    "multiple_of": "{it} should be a multiple of {multiple_of}.",
    "literal_error": "{it} should be {expected}.",
    "enum": "{it} should be {expected}.",
    "bool_parsing": SENTENCES["bool_type"],
    "int_parsing": SENTENCES["int_type"],
    "int_parsing_size": "{it} has too many digits.",
    "int_from_float": SENTENCES["int_type"],
    "float_parsing": SENTENCES["float_type"],
    "decimal_type": SENTENCES["float_type"],
    "decimal_parsing": SENTENCES["float_type"],
    "finite_number": "{it} should be a finite number.",
    "string_too_long": "{it} should have at most {max_length} characters.",
    "string_pattern_mismatch": "{it} should match {pattern}.",
    "string_unicode": "{it} should be text.",
    "tuple_type": SENTENCES["list_type"],
    "set_type": SENTENCES["list_type"],
    "model_type": SENTENCES["dict_type"],
    "none_required": "{it} should be null.",
    "too_many_faults": "{it} has {count} faults, too many to list.",
    "too_many_values": "{it} should have at most {most} values in one text.",
}
"""Sentences for pydantic's error types, with the members of its context; its own messages can quote what was sent."""

_JSON_TYPES = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}


class Parameters(BaseModel):
    """The base of a model's parameters. Unknown keys are ignored."""

    model_config = ConfigDict(allow_inf_nan=False, validate_default=True, protected_namespaces=(), extra="ignore")


def declare(name: str, parameters: Sequence[inspect.Parameter]) -> type[Parameters]:
    """The parameters of a signature as a pydantic model. Raises TypeError for a name or default that cannot be."""
    fields: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.name == OUTPUT:
            raise TypeError(f"{name}: {OUTPUT} is the request's key for the form of the answer; rename the parameter.")
        if parameter.name.startswith("_") or hasattr(Parameters, parameter.name):
            raise TypeError(f"{name}: a parameter cannot be named {parameter.name}; rename it.")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (Annotated[parameter.annotation, FirstFault(), WrapValidator(read_value)], default)
        _check_type(name, parameter.name, {parameter.name: fields[parameter.name]})
    declared = create_model(name, __base__=Parameters, **fields)
    _check_defaults(declared)
    return declared


def _check_type(name: str, parameter: str, field: dict[str, Any]) -> None:
    """Raise TypeError for a type that is neither an input nor one that JSON can hold, such as an array or a tensor."""
    try:
        create_model(name, __base__=Parameters, **field)
    except PydanticUserError:
        raise TypeError(
            f"{name}: {parameter} has a type that no parameter can have. Declare what comes from the study as Volume, "
            "Image, Series or Study, and a parameter as a type of JSON, such as float, str or list[float]."
        ) from None


def _check_defaults(declared: type[Parameters]) -> None:
    """Find here what would else be a refusal that blames the caller."""
    try:
        declared.model_validate({})
    except ValidationError as error:
        wrong = [str(detail["loc"][0]) for detail in error.errors() if detail["type"] != "missing"]
        if wrong:
            raise TypeError(f"{declared.__name__}: the default of {', '.join(wrong)} does not fit its type.") from None


def read(declared: type[Parameters], sent: JSON, *, forbid_unknown: bool = False) -> Parameters:
    """Return the parameters in a request's JSON, coerced, defaults filled in. Raises ParameterRefused.

    A refusal lists the first ``MAX_FAULTS`` faults, and of each list or object in a parameter the first one.
    """
    unknown = _unknown(declared, sent) if forbid_unknown else []
    details: list[ErrorDetails] = []
    try:
        parameters = declared.model_validate(sent)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    if not details and not unknown:
        return parameters
    faults = [_fault(declared, detail, sent) for detail in details[:MAX_FAULTS]]
    faults += [_unknown_fault(declared, key) for key in unknown[: MAX_FAULTS - len(faults)]]
    raise ParameterRefused(faults, more=len(details) + len(unknown) - len(faults))


def values(parameters: Parameters) -> dict[str, Any]:
    """The parameters as keyword arguments, by their names in the signature."""
    return {name: getattr(parameters, name) for name in type(parameters).model_fields}


def lists(declared: type[Parameters]) -> frozenset[str]:
    """The keys of the parameters that are lists, and never a text."""
    fields = declared.model_fields.items()
    return frozenset(field.alias or name for name, field in fields if _kinds(field.annotation) <= LISTS)


def _kinds(annotation: Any) -> set[Any]:
    """The types of an annotation or of the members of its union, without their arguments and without None."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return set().union(*map(_kinds, get_args(annotation))) - {types.NoneType}
    return {origin or annotation}


def digest(parameters: Parameters) -> str:
    """sha256 in hexadecimal over the parameters as JSON, defaults included."""
    text = json.dumps(parameters.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _known(declared: type[Parameters]) -> set[str]:
    return {field.alias or name for name, field in declared.model_fields.items()}


def _unknown(declared: type[Parameters], sent: JSON) -> list[str]:
    known = _known(declared) | GATEWAY_KEYS
    return [key for key in sent if key not in known]


def _unknown_fault(declared: type[Parameters], key: str) -> tuple[str, str]:
    names = ", ".join(sorted(_known(declared)))
    return _pointer((key,)), f"This model takes no such parameter; it takes {names or 'none'}."


def _fault(declared: type[Parameters], detail: ErrorDetails, sent: JSON) -> tuple[str, str]:
    """A pointer to what is there, or would have been, and a sentence of the name, the bound and the value's type."""
    context = detail.get("ctx", {})
    location = (*detail["loc"], *context.get("at", ()))
    path, value = _walk(location, sent)
    if detail["type"] == "missing":
        path = (*path, location[len(path)])
        return _pointer(path), f"{_named(declared, path)} is missing."
    template = _SENTENCES.get(detail["type"], "{it} does not fit what the model declares.")
    sentence = template.format(it=_named(declared, path), **_plain(context))
    return _pointer(path), f"{sentence.removesuffix('.')}{_unit(declared, path)}; what was sent is {_type(value)}."


def _pointer(path: Sequence[str | int]) -> str:
    return pointer(str(token)[:LONGEST_KEY] for token in path)


def _plain(context: Mapping[str, Any]) -> dict[str, Any]:
    """Bounds as a person writes them: 3071, where pydantic has made 3071.0 of it."""
    return {name: f"{value:g}" if isinstance(value, float) else value for name, value in context.items()}


def _walk(location: Sequence[str | int], sent: Any) -> tuple[tuple[str | int, ...], Any]:
    """Follow a location into the JSON as far as it leads: pydantic adds names of its own for the members of a union."""
    path: list[str | int] = []
    for token in location:
        inside = isinstance(sent, Mapping) and token in sent
        if not inside and not (isinstance(sent, list) and isinstance(token, int) and token < len(sent)):
            break
        sent = sent[token]
        path.append(token)
    return tuple(path), sent


def _named(declared: type[Parameters], path: Sequence[str | int]) -> str:
    """A declared name; what lies inside it is named by the pointer alone, since the sender chose those names."""
    if not path:
        return "The JSON"
    return str(path[0]) if len(path) == 1 else f"An item of {path[0]}"


def _unit(declared: type[Parameters], path: Sequence[str | int]) -> str:
    field = declared.model_fields.get(str(path[0])) if path else None
    extra = field.json_schema_extra if field else None
    return f" (in {extra['unit']})" if isinstance(extra, dict) and "unit" in extra else ""


def _type(value: Any) -> str:
    name = "null" if value is None else _JSON_TYPES.get(type(value), "something else")
    return name if value is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def unit(name: str) -> Any:
    """A unit for a parameter: ``Annotated[float, Field(ge=0), unit("mm")]``; it is in the schema and in refusals."""
    return Field(json_schema_extra={"unit": name})
