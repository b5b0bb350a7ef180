"""Images that clients of MONAI Label sent once, for the inferences that follow: in memory or in an anonymous file.

A session is its caller's own. It lives in the worker that received it, and the others reach its files through a link.
"""

import math
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from gateway.config import Settings
from gateway.contract.requests import JSON
from gateway.errors import NotOffered, SessionGone, Unavailable
from gateway.sessions.session_link import Reply, SessionLink, SharedFiles, ask_holder, new_id
from gateway.sessions.session_watch import SessionWatch
from gateway.spool.parts import PartFile, shared_file

LOOK_SECONDS = 5.0
"""Seconds between two looks at which sessions are over."""
RETRY_AFTER = 30
"""Seconds after which a caller that found no room may try again: others' sessions end by their idle time."""
GONE = (
    "There is no such session here, or it has ended: by its idle time, by newer ones, or with its process. "
    "Where several hosts answer, the balancer has to keep a client on its host. Open another."
)
ID = re.compile(r"[0-9a-f]{32}([0-9a-f]{32})?")
"""An id, without and with the name of a worker."""
READ, DELETE, FILES = "read", "delete", "files"


@dataclass
class ImageSession:
    """The files of one image. Times are those of ``time.monotonic``; it ends ``expiry`` seconds after its last use."""

    id: str
    caller: str
    files: SharedFiles
    expiry: float
    opened: float = field(default_factory=time.monotonic)
    used: float = field(default_factory=time.monotonic)

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(length for _, length in self.files.ranges)

    def words(self) -> JSON:
        """Return the session as MONAI Label writes it, without the path and the name of a file."""
        started = time.time() - time.monotonic()
        return {
            "name": self.id,
            "path": "",
            "image": "",
            "meta": {"files": len(self.files.ranges), "bytes": self.size},
            "create_ts": round(started + self.opened),
            "last_access_ts": round(started + self.used),
            "expiry": math.ceil(self.expiry),
        }


class ImageSessions:
    """The sessions of this process, within the bounds of click sessions."""

    def __init__(self, settings: Settings, *, linked: bool) -> None:
        """``linked`` lets the other workers of a server reach the sessions of this one."""
        self._settings = settings
        self._link = SessionLink(self.serve, settings.session_silence) if linked else None
        self._lock = threading.Lock()
        self._sessions: dict[str, ImageSession] = {}
        self._watch = SessionWatch("gateway-image-sessions", self._look, lambda: self._sessions, LOOK_SECONDS)

    def open(self, caller: str, instances: Sequence[BinaryIO], expiry: int = 0) -> JSON:
        """Hold the files of an image, which lie in one shared spool; return the session.

        It displaces the caller's own oldest above ``session_caller_max``. ``expiry`` is in seconds, 0 for as long as
        may be. Raises NotOffered where sessions are off, Unavailable where those of others leave no room.
        """
        settings = self._settings
        if not settings.sessions:
            raise NotOffered("This gateway opens no sessions; send the image with each inference.")
        file, ranges = shared_file(instances)
        assert file is not None  # the caller has checked that there are files
        most = settings.monai_session_idle
        id = new_id(self._link)
        shared = SharedFiles(file, tuple(ranges))
        session = ImageSession(id, caller, shared, min(expiry, most) if expiry > 0 else most)
        with self._lock:
            self._forget()
            self._sessions = {one.id: one for one in (*self._remaining(session), session)}
        self._watch.start()
        return session.words()

    def _remaining(self, session: ImageSession) -> list[ImageSession]:
        """Return the sessions that remain beside a new one; the lock is held. Raises Unavailable."""
        others = [one for one in self._sessions.values() if one.caller != session.caller]
        own = sorted((one for one in self._sessions.values() if one.caller == session.caller), key=lambda one: one.used)
        del own[: max(0, len(own) - self._settings.session_caller_max + 1)]
        while not self._has_room([*others, *own, session]):
            if not own:
                sentence = "The images of other sessions leave no room (sessions, session_max_bytes)."
                raise Unavailable(sentence, retry_after=RETRY_AFTER)
            del own[0]
        return [*others, *own]

    def words(self, caller: str, id: str) -> JSON:
        """Return a session. Raises SessionGone for one that is not the caller's."""
        return self._words(READ, caller, id)

    def delete(self, caller: str, id: str) -> JSON:
        """End a session; return what it was. Raises SessionGone."""
        return self._words(DELETE, caller, id)

    def files(self, caller: str, id: str) -> list[PartFile]:
        """Return the files of a session, opened for one request. Raises SessionGone."""
        reply = self._call(FILES, caller, id)
        assert isinstance(reply, SharedFiles)
        return reply.opened()

    def serve(self, verb: str, caller: str, id: str, words: JSON) -> Reply:
        """Return the reply of a session of this process. Raises SessionGone."""
        with self._lock:
            self._forget()
            session = self._sessions.get(id)
            if session is None or session.caller != caller:
                raise SessionGone(GONE)
            if verb == DELETE:
                del self._sessions[id]
            session.used = time.monotonic()
        return session.files if verb == FILES else session.words()

    def close(self) -> None:
        """End all sessions."""
        self._watch.close()
        with self._lock:
            self._sessions.clear()
        if self._link is not None:
            self._link.close()

    def _words(self, verb: str, caller: str, id: str) -> JSON:
        reply = self._call(verb, caller, id)
        assert isinstance(reply, dict)
        return reply

    def _call(self, verb: str, caller: str, id: str) -> Reply:
        """Return the reply of a session, whichever worker has it."""
        if not ID.fullmatch(id):
            raise SessionGone(GONE)
        return ask_holder(self._link, self.serve, verb, caller, id, {})

    def _has_room(self, sessions: Sequence[ImageSession]) -> bool:
        settings = self._settings
        return len(sessions) <= settings.sessions and sum(one.size for one in sessions) <= settings.session_max_bytes

    def _forget(self) -> None:
        """Forget the sessions that are over; the lock is held."""
        now, life = time.monotonic(), self._settings.session_life
        alive = [one for one in self._sessions.values() if now - one.used < one.expiry and now - one.opened < life]
        self._sessions = {one.id: one for one in alive}

    def _look(self) -> None:
        with self._lock:
            self._forget()
