"""The answer to a model's question, from the text that a client of Backend.AI's API sends."""

import json
from typing import Any

from gateway.contract.requests import JSON
from gateway.protocol.questions import ANSWER, VALUES

TEXTS = ("text", "password", "choice")
"""Kinds of questions whose answers are the text itself."""


def input_of(text: str, question: JSON) -> JSON:
    """Return the answer to a question as JSON: a text as it is, and all else, such as a point, as the JSON in the text.

    A plain handler's question has an object for an answer; other text is the member ``text`` of one.
    """
    kind, line = question.get("kind"), text.rstrip("\r\n")
    if kind in TEXTS:
        return {ANSWER: line}
    value = _value(line)
    if kind in VALUES:
        return {ANSWER: value}
    return value if isinstance(value, dict) else {"text": line}


def _value(text: str) -> Any:
    """Return the JSON of a text; the text itself, which the question refuses with a sentence, where it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
