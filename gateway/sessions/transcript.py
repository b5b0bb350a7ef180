"""What a session's model has asked and was answered: enough to bring another call of it to the same place."""

from dataclasses import dataclass, field

from gateway.contract.requests import JSON
from gateway.errors import ReplayDiverged
from gateway.protocol.questions import is_secret, same_question

CLICKS = "clicks"


@dataclass
class Exchanged:
    """A question and its answer, None for a secret one; ``open`` while clicks may be added to it."""

    question: JSON
    answer: JSON | None
    open: bool = False


@dataclass
class Transcript:
    """The answers of a session in order, and how many of them the present call of the model has had.

    Of the answers to one question for clicks, the last one is enough: it has all clicks in force.
    """

    _answers: list[Exchanged] = field(default_factory=list)
    _position: int = 0

    def rewind(self) -> None:
        """Begin another call of the model."""
        self._position = 0

    def next(self, question: JSON) -> JSON | None:
        """Return the recorded answer to the question that the model asks now; None where its caller has to answer.

        Raises ReplayDiverged where another question was recorded.
        """
        if self._position == len(self._answers):
            return None
        recorded = self._answers[self._position]
        if not _same(recorded.question, question):
            raise ReplayDiverged("The model asked another question than before; open another session.")
        if recorded.answer is not None:
            self._position += 1
        return recorded.answer

    def begins(self, question: JSON) -> bool:
        """Return True where no answer to this question is known, not even the clicks of the one before."""
        return self._position == len(self._answers) and not self._continues(question)

    def _continues(self, question: JSON) -> bool:
        """Return True where the model asks for more clicks, beside those of its last question."""
        last = self._answers[self._position - 1] if self._position else None
        return last is not None and last.open and _same(last.question, question)

    def add(self, question: JSON, answer: JSON, *, open: bool = False) -> None:
        """Record the caller's answer to the question that the model has asked; ``open`` where more clicks may come."""
        at = self._position - self._continues(question)
        self._answers[at : at + 1] = [Exchanged(question, None if is_secret(question) else answer, open)]
        self._position = at + 1


def _same(one: JSON, other: JSON) -> bool:
    """Return True for the same question; the text of one for clicks may tell what they have led to."""
    kinds = one.get("kind"), other.get("kind")
    return kinds == (CLICKS, CLICKS) or same_question(one, other)
