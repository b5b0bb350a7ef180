"""A session: an inference whose model waits in memory for the next input of its caller."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.contract.requests import JSON, EncodedAnswer, Result
from gateway.errors import (
    Cancelled,
    GatewayError,
    ParameterRefused,
    SessionConflict,
    SessionGone,
    Unavailable,
    from_words,
    to_words,
)
from gateway.protocol.questions import read_reply, reply_words
from gateway.protocol.region_changes import Bounds, RegionChange
from gateway.sessions.clicks_in_force import ClicksInForce
from gateway.sessions.shown_region import ShownRegion
from gateway.sessions.transcript import CLICKS, Transcript
from gateway.spool.parts import PartFile, reopened

LOOK_SECONDS = 0.5
"""Seconds between two looks of a model that waits at whether its session goes on."""
DEATHS = 3
"""Processes of the model that may die of one input, in a row."""
AFTER = "after"
"""The member of an input with the number of the region that its sender knows."""


class SessionState(StrEnum):
    """The state of a session; it takes inputs while it is ``waiting``."""

    WORKING = "working"
    WAITING = "waiting"
    FINISHED = "finished"
    FAILED = "failed"


GONE = (
    "There is no such session here, or it has ended: by its idle time, or with the process that had it. "
    "Where several hosts answer, the balancer has to keep a client on its host. "
    "Open another one, and send its clicks in one input."
)


@dataclass(frozen=True)
class FinishedSession:
    """The answer of a session's model, and its digest; the files of the request of the time ``received``."""

    result: Result
    output_digest: str
    route: str
    received: datetime
    files: Sequence[PartFile]

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return sum(part.data.nbytes for part in self.result.parts) + sum(map(len, self.files))

    def opened(self) -> list[PartFile]:
        """Return the files, opened for one reader."""
        return list(map(reopened, self.files))


class ClickSession:
    """What a session has asked, was answered and has shown.

    The model's thread calls ``ask``, those of requests call ``input``, ``read``, ``region`` and ``finish``, and the
    thread that executes the session calls the others. Inputs are taken one after another.
    """

    def __init__(self, id: str, caller: str, route: str, patience: float) -> None:
        """``patience`` is in seconds, for an input that waits for its turn."""
        self.id, self.caller, self.route = id, caller, route
        self.state = SessionState.WORKING
        self.opened = self.used = time.monotonic()
        self.shown = ShownRegion()
        self.stopped = False
        self.held: Callable[[], int] = _nothing
        """Returns the bytes of its request, and of what they have unfolded to in this process."""
        self.waits: Callable[[], None] = _unheard
        """Called before the model waits for an input."""
        self._progress: JSON | None = None
        self._patience = patience
        self._turn, self._news = threading.Lock(), threading.Condition()
        self._transcript, self._clicks = Transcript(), ClicksInForce()
        self._question: JSON = {}
        self._answer: JSON | None = None
        self._call = 0
        """The number of the present call of the model; a former one has nothing to ask any more."""
        self._asking = 0
        """Questions that wait for an answer: one at most, but for one of a call that has died."""
        self._parked = False
        self._expected = True
        """Whether a caller waits for what the model shows next."""
        self._last_input: tuple[int, str] | None = None
        """The number of the region before the last input, and that input's digest."""
        self._deaths = 0
        self._finished: FinishedSession | None = None
        self._error: GatewayError | None = None

    # of the model

    def ask(self, question: JSON, shown: EncodedAnswer | None = None) -> JSON:
        """Return the answer to a question of the model: the recorded one, else that of the next input.

        Raises Cancelled once this call of the model is not wanted any more, and ReplayDiverged where it asks
        something else than a former one.
        """
        with self._news, self._counted():
            call = self._call
            recorded = self._transcript.next(question)
            if recorded is not None:
                return recorded
            if self._transcript.begins(question):
                self._clicks = ClicksInForce()
            self.shown.show(shown, expected=self._expected)
            self._question, self._expected = question, False
            self._become(SessionState.WAITING)
            self.waits()
            while self._answer is None:
                if self.stopped or call != self._call:
                    raise Cancelled
                self._news.wait(LOOK_SECONDS)
            answer, self._answer = self._answer, None
            return answer

    def report(self, done: float, total: float, text: str) -> None:
        """Note how far the model has come."""
        self._progress = {"done": done, "total": total, "text": text}

    # of the thread that executes it

    def begin_call(self) -> int:
        """Begin another call of the model, which gets the recorded answers first; return its number.

        A parked session begins with its next input. Raises Cancelled once the session is stopped.
        """
        with self._news:
            self._news.wait_for(lambda: self.stopped or not self._parked)
            if self.stopped:
                raise Cancelled
            self._call += 1
            self._news.notify_all()
            self._news.wait_for(lambda: not self._asking, LOOK_SECONDS)  # by a former call, which has ended
            self._answer = None
            self._transcript.rewind()
            self._become(SessionState.WORKING)
            return self._call

    def wants(self, call: int) -> bool:
        """Return True unless this call of the model is a former one, or nobody waits for any."""
        return call == self._call and not self.stopped

    def died(self) -> bool:
        """Count a process that died in a call; return True if another should be tried."""
        self._deaths += 1
        return self._deaths < DEATHS and not self.stopped

    def pause(self, seconds: float) -> None:
        """Wait before another try, unless the session is stopped."""
        with self._news:
            self._news.wait_for(lambda: self.stopped, seconds)

    def release(self) -> None:
        """Let go of the request, which lets go of the session: a circle would keep its files open for a while."""
        self.held, self.waits = _nothing, _unheard

    def finished(self, finished: FinishedSession) -> None:
        """Note the answer of the model."""
        with self._news:
            self._finished = finished
            self._become(SessionState.FINISHED)

    def failed(self, error: GatewayError) -> None:
        """Note why there is no answer."""
        with self._news:
            self._error = from_words(to_words(error))  # without its frames, which hold the request
            self._become(SessionState.FAILED)

    # of its table

    def park(self) -> None:
        """Give the model's place back until the next input; then another call of the model gets all answers again."""
        with self._news:
            if self.state is SessionState.WAITING and not self._parked:
                self._parked = True
                self._call += 1
                self._news.notify_all()

    def stop(self) -> None:
        """End the session: its model's answer is not wanted any more."""
        with self._news:
            self.stopped = True
            self._news.notify_all()

    @property
    def size(self) -> int:
        """Bytes of memory: of its request and what that unfolds to, of its region, and of its answer."""
        return self.held() + self.shown.size + (self._finished.size if self._finished else 0)

    @property
    def ended(self) -> bool:
        """Return True once its model has answered, or cannot."""
        return self.state in (SessionState.FINISHED, SessionState.FAILED)

    @property
    def holds_place(self) -> bool:
        """Return True while its model waits for an input at its place."""
        return self.state is SessionState.WAITING and not self._parked

    @property
    def idle(self) -> float:
        """Seconds since its caller last wanted something of it; 0 while the model works."""
        return 0.0 if self.state is SessionState.WORKING else time.monotonic() - self.used

    # of requests

    def opened_words(self) -> JSON:
        """Return the session once its model has asked or answered. Raises what has ended it instead."""
        self._settle()
        return self.words() | {"region": _words_of(self.shown.change)}

    def input(self, words: JSON) -> JSON:
        """Take an input; return the session, and what the input has changed of the region.

        Raises ParameterRefused, SessionConflict where it is not the input's turn, and what has ended the session.
        """
        with self._in_turn():
            before = self.shown.sequence
            digest = hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()
            if not self._is_repeated(words, digest):
                self._require_waiting()
                self._give(*self._read_input({name: words[name] for name in words if name != AFTER}))
                self._last_input = before, digest
                self._settle()
            return self.words() | {"region": _words_of(self.shown.change)}

    def finish(self) -> FinishedSession:
        """Accept the region; return the model's answer. Raises SessionConflict, and what has ended the session."""
        with self._in_turn():
            if self._finished is None:
                self._require_waiting()
                if self._question.get("kind") != CLICKS:
                    raise SessionConflict("The model waits for an answer, and cannot finish without it.")
                self._give(reply_words(self._clicks.clicks(finished=True)), False)
                self._settle()
            if self._finished is None:
                raise SessionConflict("The model asks another question; read the session, and answer it.")
            return self._finished

    def region(self, since: int) -> JSON | None:
        """Return what has changed of the region since a number, or all of it since 0; None where none is shown."""
        with self._news:
            self.used = time.monotonic()
            return _words_of(self.shown.since(since))

    def within(self, bounds: Bounds) -> JSON | None:
        """Return the values in a box of the region; None where none is shown. Raises ValueError for one outside."""
        with self._news:
            self.used = time.monotonic()
            return _words_of(self.shown.within(bounds))

    def words(self) -> JSON:
        """Return the session as JSON."""
        with self._news:
            self.used = time.monotonic()
            clicks = self._clicks.clicks()
            return {
                "id": self.id,
                "route": self.route,
                "state": self.state.value,
                "sequence": self.shown.sequence,
                "points": len(clicks.points),
                "boxes": len(clicks.boxes),
                "question": self._question if self.state is SessionState.WAITING else None,
                "progress": self._progress,
                "problem": None if self._error is None else self._error.problem(),
            }

    def _read_input(self, words: JSON) -> tuple[JSON, bool]:
        """Return the answer that an input is, and whether more clicks may follow. Raises ParameterRefused."""
        if self._question.get("kind") != CLICKS:
            read_reply(self._question, words)
            return words, False
        self._clicks.take(words, self._question.get("shape"))
        return reply_words(self._clicks.clicks()), True

    def _is_repeated(self, words: JSON, digest: str) -> bool:
        """Return True for the last input, sent again since its response was lost.

        Raises ParameterRefused, and SessionConflict for an input after another region.
        """
        after = words.get(AFTER)
        if after is not None and type(after) is not int:
            raise ParameterRefused([(f"/{AFTER}", "after should be the number of the last region that was received.")])
        if after is None or after == self.shown.sequence:
            return False
        if self._last_input == (after, digest):
            return True
        raise SessionConflict("The session has gone on since this region; read its region, and send the input again.")

    def _give(self, answer: JSON, open: bool) -> None:
        """Give the model its answer, or begin its next call with it."""
        with self._news:
            self._transcript.add(self._question, answer, open=open)
            self._expected, self._parked, self._deaths = True, False, 0
            self._answer = answer
            self._become(SessionState.WORKING)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            self._news.notify_all()

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=self._patience):
            raise Unavailable("Other inputs of this session are still at work; send this one again.")
        try:
            with self._news:
                self._news.wait_for(lambda: self.state is not SessionState.WORKING)
            yield
        finally:
            self._turn.release()

    def _settle(self) -> None:
        """Wait until the model has asked or answered. Raises what has ended the session instead."""
        with self._news:
            self._news.wait_for(lambda: self.state is not SessionState.WORKING)
            self._require_no_error()

    def _require_no_error(self) -> None:
        if self.stopped:
            raise SessionGone(GONE)
        if self._error is not None:
            raise from_words(to_words(self._error))  # each thread has a traceback of its own

    def _require_waiting(self) -> None:
        self._require_no_error()
        if self.state is not SessionState.WAITING:
            raise SessionConflict("The model has finished; ask for its answer.")

    def _become(self, state: SessionState) -> None:
        self.state, self.used = state, time.monotonic()
        self._news.notify_all()


def _nothing() -> int:
    return 0


def _unheard() -> None:
    """Tell nobody."""


def _words_of(change: RegionChange | None) -> JSON | None:
    return None if change is None else change.words()
