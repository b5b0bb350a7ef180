"""What answers about runs wait for: events as server-sent events (HTML 9.2), changes of state, and ends."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from gateway.endpoints.store_views import moment
from gateway.endpoints.waiting import Piece
from gateway.runs.lifecycle import RunState
from gateway.runs.rows import STATE, Run, RunEvent
from gateway.runs.runs import Runs

EVENTS = 50
"""Events that are read at once."""
BEGUN = b"retry: 1000\n\n"
"""The start of each stream: a client whose stream was cut connects again after so many milliseconds."""


@dataclass(frozen=True)
class EventFeed:
    """The events of one run, from a number on."""

    runs: Runs
    run: Run
    root: str = ""
    """The path of the application (SCRIPT_NAME), for links."""

    @property
    def key(self) -> str:
        """See ``Feed``."""
        return self.run.key

    @property
    def caller(self) -> str:
        """See ``Feed``."""
        return self.run.caller

    def watch(self, wake: Callable[[], None]) -> Callable[[], None]:
        """See ``Feed``."""
        return self.runs.watch(self.run, wake).close

    def read(self, after: int) -> Piece:
        """See ``Feed``. Raises RunNotFound and RunGone once the run is forgotten."""
        events, over = self.runs.events(self.run, after, EVENTS), False
        if not events and self.runs.get(self.run.caller, self.run.id).state.ended:
            events, over = self.runs.events(self.run, after, EVENTS), True  # it may have ended meanwhile
        place = events[-1].sequence if events else after
        return Piece(b"".join(map(self.sent, events)), place, over or any(map(self.ends, events)))

    def sent(self, event: RunEvent) -> bytes:
        """Return the bytes of one event."""
        data = {**event.data, "time": moment(event.at, "milliseconds")}
        if "media_type" in data:
            data["href"] = f"{self.root}/runs/{self.run.id}/events/{event.sequence}"
        if is_end(event) and (problem := self.runs.problem(self.run)):
            data["problem"] = problem
        return f"id: {event.sequence}\nevent: {event.kind}\ndata: {json.dumps(data)}\n\n".encode()

    def ends(self, event: RunEvent) -> bool:
        """Return True for the event behind which nothing more is waited for."""
        return is_end(event)


class EndFeed(EventFeed):
    """Ends with the run, and sends nothing."""

    def sent(self, event: RunEvent) -> bytes:
        """Return nothing."""
        return b""


class ChangeFeed(EndFeed):
    """Ends with the next change of state, and sends nothing."""

    def ends(self, event: RunEvent) -> bool:
        """Return True for a change of state."""
        return event.kind == STATE


def is_end(event: RunEvent) -> bool:
    """Return True for the last event of a run."""
    return event.kind == STATE and RunState(event.data["state"]).ended
