"""A lease: one client's place for click sessions, one after another, under one token.

It adds to a session what clients of leases expect: inputs that are queued until a prediction is wanted, an undo of one
input of several, and changes that a client can write into a buffer of its own without knowing the former region.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.contract.requests import JSON
from gateway.errors import SessionConflict, SessionGone, Unavailable
from gateway.protocol.nninteractive.prompts import joined
from gateway.protocol.questions import read_clicks
from gateway.protocol.region_changes import Bounds, joined_bounds

CallSession = Callable[[str, str, JSON], JSON]
"""Asks a session for a verb of ``click_sessions.VERBS``: the verb, the session's id, and words."""
NO_IMAGE = "The lease has no image yet; set one before the first prompt."
BUSY = "Another request of this lease is still at work; send this one again."


class SessionLease:
    """The session of a lease, and what its client has of the region. Its requests are taken one after another."""

    def __init__(self, caller: str, patience: float, clock: Callable[[], float]) -> None:
        """``patience`` is in seconds, for a request that waits for its turn."""
        self.caller, self._clock = caller, clock
        self.active = self.seen = clock()
        self.session = ""
        self._patience = patience
        self._turn = threading.Lock()
        self._buffer: str | None = None
        """The type of the client's buffer; None before it has one."""
        self._shape: list[int] | None = None
        self._forget_prompts()

    def _forget_prompts(self) -> None:
        """Begin without a prompt, beside a client whose buffer is all zeros."""
        self._queued: list[JSON] = []
        self._taken: list[list[JSON]] = []
        """The prompts of each input of the session."""
        self._zeros = True
        """Whether the client's buffer has no voxel of the region yet."""
        self._last: Bounds | None = None
        """The box of the last change, which is sent once more: its response may have been lost."""

    @property
    def busy(self) -> bool:
        """Return True while a request of it is at work."""
        return self._turn.locked()

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Take a turn; it counts as activity. Raises Unavailable where another takes too long."""
        if not self._turn.acquire(timeout=self._patience):
            raise Unavailable(BUSY)
        try:
            self.active = self.seen = self._clock()
            yield
            self.active = self.seen = self._clock()
        finally:
            self._turn.release()

    # each in turn

    def set_session(self, words: JSON) -> str:
        """Go on with another session, that of the next image; return the id of the former one, "" without one."""
        former, self.session = self.session, words["session"]
        self._shape = words["shape"]
        self._buffer = None
        self._forget_prompts()
        return former

    def set_buffer(self, words: JSON, call: CallSession) -> JSON:
        """Take it that the client has another buffer, of this ``shape`` and ``dtype``, all zeros.

        Raises SessionConflict without an image, and for the shape of another one.
        """
        self._require_session(call)
        if words["shape"] != self._shape:
            raise SessionConflict(f"The buffer should have the shape of the image, {tuple(self._shape or ())}.")
        self._buffer, self._zeros, self._last = words["dtype"], True, None
        return {}

    def overwritten(self, _words: JSON, call: CallSession) -> JSON:
        """Take it that the client has written something else into its buffer: the next change covers all of it."""
        self._require_session(call)
        slices, rows, columns = self._shape or (1, 1, 1)
        self._last = (0, 0, 0), (slices, rows, columns)
        return {}

    def image(self, _words: JSON, call: CallSession) -> JSON:
        """Return the shape of the image. Raises SessionConflict without one."""
        self._require_session(call)
        return {"shape": self._shape}

    def prompt(self, words: JSON, call: CallSession) -> JSON:
        """Take a prompt, an ``input`` of points and boxes; ``run`` it, or queue it. Raises what the session raises."""
        self._require_session(call)
        prompts = [*self._queued, words["input"]]
        read_clicks(joined(prompts), self._shape, "")  # which bounds how many are queued, too
        if not words["run"]:
            self._queued = prompts
            return _nothing_changed(ran=False)
        return self._predict(prompts, call)

    def predict(self, _words: JSON, call: CallSession) -> JSON:
        """Run what is queued."""
        self._require_session(call)
        return self._predict(self._queued, call) if self._queued else _nothing_changed(ran=False)

    def undo(self, _words: JSON, call: CallSession) -> JSON:
        """Take back the last prompt; others that were run together with it are queued again."""
        self._require_session(call)
        if self._queued:
            self._queued.pop()
            return _nothing_changed(ran=True)
        if not self._taken:
            return _nothing_changed(ran=False)
        changed = call("input", self.session, {"undo": 1})
        self._queued = self._taken.pop()[:-1]
        return self._written(changed, call)

    def reset(self, _words: JSON, call: CallSession) -> JSON:
        """Take back all prompts; the client sets its buffer to zeros."""
        self._require_session(call)
        if self._taken:
            call("input", self.session, {"reset": True})
        self._forget_prompts()
        return {}

    def _predict(self, prompts: list[JSON], call: CallSession) -> JSON:
        changed = call("input", self.session, joined(prompts))
        self._taken.append(list(prompts))
        self._queued = []
        return self._written(changed, call)

    def _written(self, changed: JSON, call: CallSession) -> JSON:
        """Return what the client has to write into its buffer after an input of the session."""
        bounds = _bounds(changed["region"])
        if self._zeros:
            bounds = _bounds(call("region", self.session, {"since": 0})["region"])
        box = joined_bounds(bounds, self._last)
        self._last, self._zeros = bounds, False
        if box is None or self._buffer is None:
            return _nothing_changed(ran=True)
        region = call("within", self.session, {"bounds": box})["region"]
        return {"ran": True, "region": region, "dtype": self._buffer}

    def _require_session(self, call: CallSession) -> None:
        """Raise SessionConflict without a session, and SessionGone where it has ended."""
        if not self.session:
            raise SessionConflict(NO_IMAGE)
        try:
            call("read", self.session, {})  # which keeps it from being idle
        except SessionGone:
            self.session = ""
            raise


def _bounds(region: JSON | None) -> Bounds | None:
    if region is None or region["box"] is None:
        return None
    first, stop = region["box"]
    return (first[0], first[1], first[2]), (stop[0], stop[1], stop[2])


def _nothing_changed(*, ran: bool) -> JSON:
    return {"ran": ran, "region": None, "dtype": None}
