"""The caller of an application in the same process: it hears what a model tells, and answers what it asks."""

from collections import deque
from collections.abc import Iterable
from typing import Any

from gateway.contract.requests import JSON, EncodedAnswer
from gateway.endpoints.inference import LOCAL_CALLER
from gateway.errors import RunRequired
from gateway.protocol.questions import read_reply, reply_words

__all__ = ["LOCAL_CALLER", "LocalCaller", "Unanswered"]


class Unanswered(RunRequired):
    """A question for which there is no answer left."""


class LocalCaller:
    """Answers questions in the order of ``answers``: values such as Point, or JSON objects.

    An application has it among its ``extensions`` under LOCAL_CALLER.
    """

    def __init__(self, answers: Iterable[Any] = ()) -> None:
        self._answers = deque(answers)

    @property
    def left(self) -> int:
        """Answers that no question has taken."""
        return len(self._answers)

    def progress(self, done: float, total: float, text: str) -> None:
        """Hear how far a model is."""

    def log(self, text: str) -> None:
        """Hear a line."""

    def preview(self, picture: bytes, text: str) -> None:
        """See a picture, as PNG."""

    def ask(self, question: JSON, shown: EncodedAnswer | None = None) -> JSON:
        """Return the next answer. Raises Unanswered behind the last, and ParameterRefused for one that does not fit."""
        if not self._answers:
            raise Unanswered(f"The model asks, and no answer is left: {question.get('question', '')}")
        answer = self._answers.popleft()
        words = answer if isinstance(answer, dict) else reply_words(answer)
        read_reply(question, words)
        return words
