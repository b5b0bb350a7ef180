"""The click sessions of one process: opened, found by their ids, bounded, expired; and the way to other workers'."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.contract.model import Model
from gateway.contract.requests import JSON, Request
from gateway.errors import ParameterRefused, SessionGone, TooManyRequests, Unavailable
from gateway.intake.receiving import Source
from gateway.service.exchange import Exchange, Head
from gateway.service.service import Service
from gateway.sessions.click_session import GONE, ClickSession, SessionState
from gateway.sessions.session_execution import execute
from gateway.sessions.session_link import Reply, SessionLink, ask_holder, new_id
from gateway.sessions.session_watch import SessionWatch

TURN_SECONDS = 0.25
"""Seconds between two looks at which sessions are over, and which hold a place that a request waits for."""
YIELD_SECONDS = 0.5
"""Seconds without an input after which a session gives its place to a request that waits for one."""
FULL_SECONDS = 15.0
"""Seconds after which it gives up the last place of its model, whether or not a request waits for it."""
ENDED_SECONDS = 120.0
"""Seconds for which the answer of a session can be asked for again, where its response was lost."""
RETRY_AFTER = 10
"""Seconds after which a caller that found no room may try again; people finish a region in a minute or two."""
DOOR = "sessions"
"""The door of a session that is opened by its own route."""
STOP_SECONDS = 2.0
"""Seconds that the models of stopped sessions have to notice."""


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A request for a session: the members of ``exchange.Head``, the body's source, and the requested timeout."""

    route: str
    request_id: str
    caller: str
    source: Source
    accept: str = ""
    traceparent: str = ""
    door: str = DOOR
    timeout: Callable[[], float | None] = lambda: None


VERBS: Mapping[str, Callable[[ClickSession, JSON], Reply]] = {
    "read": lambda session, _: session.words(),
    "input": lambda session, words: session.input(words),
    "region": lambda session, words: {"region": session.region(words["since"])},
    "within": lambda session, words: {"region": session.within(words["bounds"])},
    "finish": lambda session, _: session.finish(),
}
"""What a session is asked for, by its words."""
DELETE = "delete"


class ClickSessions:
    """The sessions of this process. A caller's sessions are its own; those of others do not exist for it."""

    def __init__(self, service: Service, *, linked: bool) -> None:
        """``linked`` lets the other workers of a server reach the sessions of this one."""
        self._service, self._settings = service, service.settings
        self._link = SessionLink(self.serve, self._settings.session_silence) if linked else None
        self._lock = threading.RLock()
        self._sessions: dict[str, ClickSession] = {}
        self._threads = set[threading.Thread]()
        self._draining = False
        self._watch = SessionWatch("gateway-sessions", self._look, lambda: self._sessions, TURN_SECONDS)

    def open(self, opening: Opening) -> JSON:
        """Open a session on the body of a request; return it with the first question of its model.

        Raises ParameterRefused for an unknown route, Unavailable and TooManyRequests above the bounds, and what the
        model's own route raises.
        """
        model = self._service.models.get(opening.route)
        if model is None or not model.interactive:
            raise ParameterRefused([("/route", "No model that asks its caller is on this route.")])
        session = self._admit(opening)
        try:
            self._begin(session, model, opening)
            return session.opened_words()
        except BaseException:
            self._drop(session)
            raise

    def call(self, verb: str, caller: str, id: str, words: JSON) -> Reply:
        """Return the reply of a session to a verb of ``VERBS``, whichever worker has it.

        Raises SessionGone for a session that is not the caller's, and what the session raises.
        """
        return ask_holder(self._link, self.serve, verb, caller, id, words)

    def serve(self, verb: str, caller: str, id: str, words: JSON) -> Reply:
        """Return the reply of a session of this process. Raises as ``call``."""
        session = self._sessions.get(id)
        if session is None or session.caller != caller:
            raise SessionGone(GONE)
        if verb == DELETE:
            self._drop(session)
            return {}
        return VERBS[verb](session, words)

    @property
    def count(self) -> int:
        """Sessions of this process, open or ended."""
        return len(self._sessions)

    @property
    def draining(self) -> bool:
        """Return True once no session is opened any more."""
        return self._draining

    @property
    def busy(self) -> bool:
        """Return True while the model of a session works."""
        return any(session.state is SessionState.WORKING for session in self._alive())

    def drain(self) -> None:
        """Open no more sessions; those that are open take inputs until the server ends."""
        self._draining = True

    def close(self) -> None:
        """Stop all sessions; once is enough."""
        self._draining = True
        self._watch.close()
        for session in self._alive():
            self._drop(session)
        if self._link is not None:
            self._link.close()
        late = time.monotonic() + STOP_SECONDS
        for thread in list(self._threads):
            thread.join(max(0.0, late - time.monotonic()))

    def _alive(self) -> list[ClickSession]:
        return list(self._sessions.values())

    def _admit(self, opening: Opening) -> ClickSession:
        """Return a new session within the bounds. Raises Unavailable, TooManyRequests."""
        if self._draining:
            raise Unavailable("The gateway is stopping; open a session again.")
        most, each = self._settings.sessions, self._settings.session_caller_max
        with self._lock:
            self._forget_ended(most)
            live = [session for session in self._sessions.values() if not session.ended]
            if len(live) >= most:
                raise Unavailable(f"As many sessions are open as sessions, {most}, allows.", retry_after=RETRY_AFTER)
            if sum(session.caller == opening.caller for session in live) >= each:
                limit = f"session_caller_max, which is {each} here"
                raise TooManyRequests(f"The caller's open sessions exceed {limit}; end one.", retry_after=RETRY_AFTER)
            id = new_id(self._link)
            session = ClickSession(id, opening.caller, opening.route, self._settings.request_timeout)
            self._sessions[id] = session
            self._service.metrics.sessions.inc()
        self._watch.start()
        return session

    def _begin(self, session: ClickSession, model: Model, opening: Opening) -> None:
        """Receive the body, and begin to execute the session."""
        head = Head(
            door=opening.door,
            request_id=opening.request_id,
            caller=opening.caller,
            accept=opening.accept,
            traceparent=opening.traceparent,
            no_cache=True,
            gone=lambda: session.stopped,
            progress=session.report,
            ask=session.ask,
            renews=True,
        )
        with self._service.open_exchange(model, head, opening.timeout) as exchange:
            request = exchange.receive(opening.source)
            session.held = lambda: exchange.held
            self._require_room()
            session.waits = exchange.ticket.lend
        thread = threading.Thread(target=self._execute, args=[session, exchange, request], daemon=True)
        thread.name = "gateway-session"
        self._threads.add(thread)
        thread.start()

    def _require_room(self) -> None:
        """Raise Unavailable where the sessions of this process hold too many bytes."""
        most = self._settings.session_max_bytes
        if sum(session.size for session in self._alive()) > most:
            limit = f"session_max_bytes, which is {most} here"
            raise Unavailable(f"The bytes of all sessions exceed {limit}.", retry_after=RETRY_AFTER)

    def _execute(self, session: ClickSession, exchange: Exchange, request: Request) -> None:
        try:
            execute(session, exchange, request)
        finally:
            session.release()
            self._threads.discard(threading.current_thread())

    def _drop(self, session: ClickSession) -> None:
        """Stop a session, and forget it."""
        session.stop()
        with self._lock:
            if self._sessions.pop(session.id, None) is not None:
                self._service.metrics.sessions.dec()

    def _forget_ended(self, most: int) -> None:
        """Forget the oldest sessions that have ended, so that fewer than ``most`` remain."""
        ended = sorted((one for one in self._sessions.values() if one.ended), key=lambda session: session.used)
        for session in ended[: max(0, len(ended) - most + 1)]:
            self._drop(session)

    def _look(self) -> None:
        for session in self._alive():
            if self._is_over(session):
                self._drop(session)
        self._yield_places()

    def _is_over(self, session: ClickSession) -> bool:
        settings = self._settings
        if time.monotonic() - session.opened >= settings.session_life:
            return True
        return session.idle >= (min(ENDED_SECONDS, settings.session_idle) if session.ended else settings.session_idle)

    def _yield_places(self) -> None:
        """Park sessions that wait for an input while a request waits for the place that they hold."""
        health = self._service.executors.health()
        for route, known in health.items():
            if not known.places or known.running < known.places:
                continue
            patience = YIELD_SECONDS if known.queued else FULL_SECONDS
            waiting = [one for one in self._alive() if one.route == route and one.holds_place and one.idle >= patience]
            waiting.sort(key=lambda session: session.used)
            for session in waiting[: max(1, known.queued)]:
                session.park()
