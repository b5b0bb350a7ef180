"""Faults of an answer's JSON, each as a JSON pointer and one sentence that quotes no value."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import takewhile
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gateway.contract.requests import JSON
from gateway.errors import AnswerInvalid
from gateway.protocol import annotations


def pointer(tokens: Iterable[str | int]) -> str:
    """Join tokens into a pointer; ``()`` is ``""``, the whole document. ``~`` and ``/`` are escaped (RFC 6901 3)."""
    return "".join(f"/{str(token).replace('~', '~0').replace('/', '~1')}" for token in tokens)


def tokens(text: str) -> list[str]:
    """Split a pointer into its tokens (RFC 6901 4)."""
    return [token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:]]


MEMBERS = frozenset[str]().union(
    *(shape.__annotations__ for shape in vars(annotations).values() if hasattr(shape, "__required_keys__"))
)
"""Every member that the protocol names. Other names come from the model and may hold anything."""

FREE = frozenset({"study_ml_json", "series_ml_json", "palettes", "label_map"})
"""Members below which the model chooses the names."""

TAGGED = frozenset({"palettes", "linear_measurements_2d"})
"""Lists and objects whose items are one of several shapes; pydantic adds the chosen shape's tag after the item."""

SENTENCES = {
    "missing": "{it} is missing.",
    "string_type": "{it} should be text.",
    "string_too_short": "{it} should not be empty.",
    "bool_type": "{it} should be true or false.",
    "int_type": "{it} should be a whole number.",
    "float_type": "{it} should be a number.",
    "greater_than": "{it} should be greater than {gt}.",
    "greater_than_equal": "{it} should be at least {ge}.",
    "less_than_equal": "{it} should be at most {le}.",
    "list_type": "{it} should be a list.",
    "dict_type": "{it} should be an object.",
    "model_attributes_type": "{it} should be an object.",
    "too_short": "{it} should have at least {min_length} items.",
    "too_long": "{it} should have at most {max_length} items.",
    "union_tag_not_found": "{discriminator} is missing or no text.",
    "union_tag_invalid": "{discriminator} should be one of {expected_tags}.",
    "rule": "{sentence}",
}
"""Sentences for pydantic's error types, with the members of its context; its own messages quote what was sent."""


def faults(answer: JSON) -> Iterator[AnswerInvalid]:
    """Every fault of ``answer``, which is read back from the bytes to be sent."""
    try:
        _adapter().validate_python(answer, strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    else:
        return
    yield from map(_fault, details)


def loggable(text: str) -> str:
    """The head of a pointer that names only members of the protocol and indices, never a name the model chose."""
    known: list[str] = []
    for token in takewhile(lambda token: token in MEMBERS or token.isdigit(), tokens(text)):
        known.append(token)
        if token in FREE:
            break
    return pointer(known)


@cache
def _adapter() -> TypeAdapter[Any]:
    return TypeAdapter(Annotated[annotations.AnswerJSON, AfterValidator(annotations.palettes_exist)])


def _fault(detail: ErrorDetails) -> AnswerInvalid:
    context = {name: _clean(value) for name, value in detail.get("ctx", {}).items()}
    path = [*_without_tag(detail["loc"]), *_below(context)]
    sentence = SENTENCES.get(detail["type"], "{it} does not follow protocol 1.0.").format(it=_name(path), **context)
    return AnswerInvalid(pointer(path), sentence)


def _clean(value: Any) -> Any:
    """Pydantic quotes member names in its context."""
    return value.replace("'", "") if isinstance(value, str) else value


def _without_tag(location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    return location[:2] + location[3:] if location and location[0] in TAGGED else location


def _below(context: Mapping[str, Any]) -> tuple[str | int, ...]:
    """The rest of the way, below the place that pydantic gives."""
    return context.get("at", ()) or ((context["discriminator"],) if "discriminator" in context else ())


def _name(path: list[str | int]) -> str:
    """The place of a fault as a phrase: a member of the protocol, or an item of one."""
    if not path:
        return "The answer"
    *above, last = path
    if last in MEMBERS and not FREE.intersection(above[-1:]):
        return str(last)
    return f"An item of {next((token for token in reversed(above) if token in MEMBERS), 'the answer')}"
