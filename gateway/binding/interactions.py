"""The steps of an interactive model: its generator, driven to its findings through the request's context."""

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from gateway.binding.bound_request import BoundRequest
from gateway.binding.declaration import Declaration
from gateway.binding.outputs import implied_place
from gateway.contract.findings import Finding
from gateway.contract.interaction import Ask, Preview, Progress
from gateway.contract.requests import EncodedAnswer
from gateway.errors import AnswerInvalid
from gateway.observe.logs import exception_frames
from gateway.protocol.questions import question_words, read_reply

logger = logging.getLogger("gateway")


@dataclass(frozen=True)
class Interaction:
    """One request of an interactive model. ``encode`` makes a shown finding an answer."""

    bound: BoundRequest
    declaration: Declaration
    encode: Callable[[Finding], EncodedAnswer]

    def follow(self, steps: Generator[Any, Any, Any]) -> Any:
        """Carry out each step, and return what the generator returns; one that is not wanted any more is closed.

        Raises Cancelled, RunRequired, AnswerInvalid for what is no step, and what the generator raises.
        """
        answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                return end.value
            try:
                answer = self._carry_out(step)
            except BaseException:
                _close(steps)
                raise

    def _carry_out(self, step: Any) -> Any:
        request = self.bound.request
        if isinstance(step, Ask):
            return self._ask(step)
        if isinstance(step, Progress):
            return request.progress(step.done, step.total, step.text)
        if not isinstance(step, Preview):
            sentence = f"The model yields a {type(step).__name__}: yield Progress, Preview or Ask, and return findings."
            raise AnswerInvalid("", sentence)
        return request.preview(step.picture, step.text)

    def _ask(self, ask: Ask) -> Any:
        place = implied_place(self.declaration, self.bound.arguments) if ask.of is None else ask.of
        words = question_words(ask, place)
        shown = None if ask.shown is None else self.encode(ask.shown)
        return read_reply(words, self.bound.request.ask(words, shown))


def _close(steps: Generator[Any, Any, Any]) -> None:
    """Have the author's ``finally`` run. What it raises is logged, since the first error is the request's."""
    try:
        steps.close()
    except BaseException as error:
        logger.error("an interactive model was not closed\n%s", exception_frames(error))
