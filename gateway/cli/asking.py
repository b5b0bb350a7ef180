"""Questions of a model that ``run`` executes: answered by ``--answer`` in order, else by the person at the terminal."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.cli.terminal import Terminal
from gateway.client.errors import printable
from gateway.client.local_caller import LocalCaller, Unanswered
from gateway.contract.interaction import Click, Clicks, Point
from gateway.contract.requests import JSON, EncodedAnswer
from gateway.errors import ParameterRefused
from gateway.protocol.questions import VALUES, is_secret, read_reply, reply_words

HINTS = {
    "point": "slice,row,column",
    "box": "slice,row,column,slice,row,column of two corners",
    "clicks": "slice,row,column ... with ! before one outside; nothing to finish",
    "number": "a number",
}
"""How a person writes an answer."""
TEXTS = ("text", "choice", "password")
SEPARATORS = re.compile(r"[,\s]+")


class TerminalCaller(LocalCaller):
    """A person at a terminal, or a script with its answers; previews are written below ``previews``."""

    def __init__(self, answers: Sequence[str], screen: Terminal, previews: Path) -> None:
        super().__init__(answers)
        self._screen, self._previews = screen, previews
        self._number, self._clicks = 0, Clicks()

    def progress(self, done: float, total: float, text: str) -> None:
        """Show how far the model is."""
        self._screen.report(text, done, total)

    def log(self, text: str) -> None:
        """Print a line."""
        self._screen.note(text)

    def preview(self, picture: bytes, text: str) -> None:
        """Write a picture."""
        self._number += 1
        self._previews.mkdir(parents=True, exist_ok=True)
        path = self._previews / f"preview_{self._number:03}.png"
        path.write_bytes(picture)
        self._screen.note(f"preview {path}{f': {text}' if text else ''}")

    def ask(self, question: JSON, shown: EncodedAnswer | None = None) -> JSON:
        """Return the next answer. Raises Unanswered where there is none and no terminal, and ParameterRefused."""
        if self._answers:
            words = self._words(question, self._answers.popleft())
            read_reply(question, words)
            return words
        if not self._screen.can_ask:
            prompt = printable(_prompt(question).rstrip(": "))
            raise Unanswered(f"the model asks: {prompt} Answer by --answer, or run it on a terminal.")
        while True:
            typed = self._typed(question)
            try:
                words = self._words(question, typed)
                read_reply(question, words)
            except ParameterRefused as refusal:
                self._screen.note(refusal.detail)
            else:
                return words

    def _typed(self, question: JSON) -> str:
        try:
            return self._screen.ask(_prompt(question), secret=is_secret(question))
        except EOFError:
            raise Unanswered("the input has ended, and the model asks another question.") from None

    def _words(self, question: JSON, text: str) -> JSON:
        """Return a line as an answer; a line that is none of its kind is refused by its check."""
        kind = question.get("kind")
        if not text and "default" in question:
            return {"answer": question["default"]}
        if kind not in VALUES:
            value = _json(text)
            return value if isinstance(value, dict) else {"answer": text}
        if kind in TEXTS:
            return {"answer": text}
        value = _json(text)
        if kind == "clicks" and not isinstance(value, dict):
            return reply_words(self._clicked(text))
        return {"answer": _places(text, kind) if value is None else value}

    def _clicked(self, text: str) -> Clicks:
        """Add the points of a line to those before; an empty line finishes."""
        if not text.strip():
            return self._clicks._replace(finished=True)
        new = list[Click]()
        for word in text.split():
            place = _numbers(word.removeprefix("!"))
            new.append(Click(Point(*place), not word.startswith("!")) if len(place) == 3 else Click(Point(-1, -1, -1)))
        clicks = self._clicks._replace(points=(*self._clicks.points, *new))
        if all(click.point.slice >= 0 for click in new):  # the others are refused
            self._clicks = clicks
        return clicks


def _prompt(question: JSON) -> str:
    hint = HINTS.get(str(question.get("kind")), "")
    choices = ", ".join(map(str, question.get("choices", ())))
    default = f"[{question['default']}]" if "default" in question else ""
    text = str(question.get("question", json.dumps(question)))
    return " ".join(filter(None, [text, f"({choices or hint})" if choices or hint else "", default])) + ": "


def _json(text: str) -> Any:
    """Return the value of JSON; None for other text. Raises ParameterRefused for an object that cannot be read."""
    try:
        return json.loads(text)
    except ValueError:
        if text.lstrip().startswith("{"):
            raise ParameterRefused([("/answer", "The answer begins with { and is not valid JSON.")]) from None
        return None


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in SEPARATORS.split(text.strip()) if word]
    except ValueError:
        return []


def _places(text: str, kind: str) -> Any:
    numbers = _numbers(text)
    return [numbers[:3], numbers[3:]] if kind == "box" else numbers
