"""The leases of one process: claimed, found by their tokens, bounded, expired; and the way to other workers' leases.

A lease lives in the worker that granted it, and its session in the one that received its image.
"""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

from gateway.config import Settings
from gateway.contract.requests import JSON
from gateway.errors import GatewayError, LeaseExpired, SessionGone, Unavailable
from gateway.sessions.click_sessions import DELETE, RETRY_AFTER, ClickSessions
from gateway.sessions.session_lease import CallSession, SessionLease
from gateway.sessions.session_link import SECRET_DIGITS, Reply, SessionLink, ask_holder, new_id
from gateway.sessions.session_watch import SessionWatch

SILENCE_SECONDS = 60.0
"""Seconds without any request, a heartbeat included, after which a client counts as dead; nnInteractive's own server
takes as many, and its client sends a heartbeat twice in them."""
LOOK_SECONDS = 1.0
"""Seconds between two looks at which leases are over."""
TOKEN = re.compile(f"[0-9a-f]{{{SECRET_DIGITS},96}}")
EXPIRED = (
    "The lease is unknown, or has ended: by its idle time, by the silence of its client, or with the process that had "
    "it or its image. Where several hosts answer, the balancer has to keep a client on its host. "
    "Connect again, and set the image again."
)

IN_TURN: Mapping[str, Callable[[SessionLease, JSON, CallSession], JSON]] = {
    "image": SessionLease.image,
    "buffer": SessionLease.set_buffer,
    "overwritten": SessionLease.overwritten,
    "prompt": SessionLease.prompt,
    "predict": SessionLease.predict,
    "undo": SessionLease.undo,
    "reset": SessionLease.reset,
}
"""What a lease is asked for by the actions of a person."""


class SessionLeases:
    """The leases of this process. A caller's leases are its own; those of others do not exist for it."""

    def __init__(self, sessions: ClickSessions, settings: Settings, *, linked: bool) -> None:
        """``linked`` lets the other workers of a server reach the leases of this one."""
        self._sessions, self._settings = sessions, settings
        self._link = SessionLink(self._serve, settings.session_silence) if linked else None
        self._lock = threading.Lock()
        self._leases: dict[str, SessionLease] = {}
        self._watch = SessionWatch("gateway-leases", self._look, lambda: self._leases, LOOK_SECONDS)
        self.clock = time.monotonic

    def claim(self, caller: str) -> JSON:
        """Grant a lease. Raises Unavailable where the worker, or the caller, has as many as it may have."""
        most, each = self._settings.sessions, self._settings.session_caller_max
        if self._sessions.draining:
            raise Unavailable("The gateway is stopping; connect again.")
        token = new_id(self._link)
        with self._lock:
            if len(self._leases) >= most:
                raise Unavailable(f"As many leases are granted as sessions, {most}, allows.", retry_after=RETRY_AFTER)
            if sum(lease.caller == caller for lease in self._leases.values()) >= each:
                limit = f"session_caller_max, which is {each} here"
                raise Unavailable(f"The caller's leases exceed {limit}; release one.", retry_after=RETRY_AFTER)
            self._leases[token] = SessionLease(caller, self._settings.request_timeout, self.clock)
        self._watch.start()
        idle = self._settings.session_idle
        limits = {"idle_timeout_seconds": idle, "liveness_timeout_seconds": SILENCE_SECONDS, "max_sessions": most}
        return {"lease_token": token} | limits

    def call(self, verb: str, caller: str, token: str, words: JSON | None = None) -> JSON:
        """Return the reply of a lease, whichever worker has it: to a verb of ``IN_TURN``, or to one below.

        ``heartbeat`` returns the seconds that are left and counts as a sign of life, ``status`` returns them alone,
        ``session`` sets another session, ``release`` ends the lease.
        Raises LeaseExpired, and what the lease raises.
        """
        try:
            if not TOKEN.fullmatch(token):
                raise SessionGone
            reply = ask_holder(self._link, self._serve, verb, caller, token, words or {})
        except SessionGone:
            raise LeaseExpired(EXPIRED) from None
        assert isinstance(reply, dict)
        return reply

    def _serve(self, verb: str, caller: str, token: str, words: JSON) -> Reply:
        """Return the reply of a lease of this process. Raises SessionGone, and what the lease raises."""
        lease = self._leases.get(token)
        if lease is None or lease.caller != caller or self._is_over(lease):
            raise SessionGone
        if verb in IN_TURN:
            with lease.in_turn():
                return IN_TURN[verb](lease, words, partial(self._ask, lease.caller))
        if verb == "session":
            with lease.in_turn():
                self._end_session(lease.caller, lease.set_session(words))
        elif verb == "release":
            self._drop(token)
        elif verb != "status":
            lease.seen = self.clock()
        return {"remaining_seconds": self._remaining(lease), "idle_timeout_seconds": self._settings.session_idle}

    def close(self) -> None:
        """Grant no more leases, and answer no other worker."""
        self._watch.close()
        if self._link is not None:
            self._link.close()

    def _ask(self, caller: str, verb: str, session: str, words: JSON) -> JSON:
        reply = self._sessions.call(verb, caller, session, words)
        assert isinstance(reply, dict)
        return reply

    def _remaining(self, lease: SessionLease) -> float:
        return max(0.0, self._settings.session_idle - (self.clock() - lease.active))

    def _is_over(self, lease: SessionLease) -> bool:
        silent = self.clock() - lease.seen > SILENCE_SECONDS
        return not lease.busy and (silent or self._remaining(lease) <= 0)

    def _drop(self, token: str) -> None:
        with self._lock:
            lease = self._leases.pop(token, None)
        if lease is not None:
            self._end_session(lease.caller, lease.session)

    def _end_session(self, caller: str, session: str) -> None:
        """End a session; one whose worker has gone, or fails, ends there by its idle time."""
        if session:
            with contextlib.suppress(GatewayError):
                self._sessions.call(DELETE, caller, session, {})

    def _look(self) -> None:
        for token, lease in list(self._leases.items()):
            if self._is_over(lease):
                self._drop(token)
