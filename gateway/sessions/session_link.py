"""The way of a request to the worker that has its session: a Unix socket of each worker, reached by the session's id.

A request and its response are one message each, their words and bytes in anonymous files beside it. Only processes of
one user reach each other (``executors.messages``), and the socket leaves no file behind.
"""

import contextlib
import logging
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from gateway.contract.requests import JSON
from gateway.errors import GatewayError, SessionGone, Unavailable
from gateway.executors.messages import Channel, accept, connect, listen
from gateway.executors.transfer import (
    TransferContext,
    read_outcome,
    read_words,
    write_error,
    write_result,
    write_words,
)
from gateway.observe.logs import exception_frames
from gateway.sessions.click_session import GONE, FinishedSession
from gateway.spool.anonymous_files import AnonymousFile
from gateway.spool.parts import PartFile, attached, gathered

logger = logging.getLogger("gateway")

PREFIX = "\0gateway-"
"""Where the address of a worker begins; what follows it is the beginning of its sessions' ids."""

SECRET_DIGITS = 32
"""Hexadecimal digits at the end of an id that name the session within its worker, and cannot be guessed."""


ALIVE: JSON = {"type": "alive"}
"""What a worker sends now and then while a session of it works."""
SIGNS = 4
"""Signs of life within the time after which a worker without one has hung: three may be late."""
RETRY_SECONDS = 5
"""Seconds after which a request for a worker that has hung may be sent again."""
HUNG = (
    "The process that has this session does not answer (session_silence). Send the request again; where that fails "
    "too, open another session."
)


@dataclass(frozen=True)
class SharedFiles:
    """Files that lie in one anonymous file: where each begins, and how long it is, in bytes."""

    file: AnonymousFile
    ranges: tuple[tuple[int, int], ...]

    def opened(self) -> list[PartFile]:
        """Return the files, opened for one reader."""
        return attached(self.file, self.ranges)


Reply = JSON | FinishedSession | SharedFiles
Serve = Callable[[str, str, str, JSON], Reply]
"""Answers a request by its verb, the caller, the session's id and the words."""


class SessionLink:
    """The socket of one worker, and the way to those of the others."""

    def __init__(self, serve: Serve, silence: float) -> None:
        """``silence`` is in seconds: a worker that gives no sign of life for so long has hung."""
        self._serve, self._silence = serve, silence
        self._listener, address = listen()
        self.name = address.removeprefix(PREFIX)
        self._closed = False
        threading.Thread(target=self._listen, name="gateway-session-link", daemon=True).start()

    def forward(self, name: str, verb: str, caller: str, id: str, words: JSON) -> Reply:
        """Return the reply of the worker ``name``, which may take as long as its model takes.

        Raises what that raised, SessionGone without such a worker, and Unavailable for one that has hung.
        """
        try:
            kind, files = self._exchanged(name, {"verb": verb, "caller": caller, "id": id, "words": words})
        except (TimeoutError, BlockingIOError):  # the latter where its queue of connections is full
            raise Unavailable(HUNG, retry_after=RETRY_SECONDS) from None
        except OSError:
            raise SessionGone(GONE) from None
        if kind["type"] == "words":
            return read_words(files[0])
        if kind["type"] == "files":
            return SharedFiles(files[1], tuple(map(tuple, read_words(files[0])["ranges"])))
        outcome = read_outcome(files[: kind.get("files")])
        if isinstance(outcome, Exception):
            raise outcome
        ranges, bulk = files[-2:]
        input_files = attached(bulk, map(tuple, read_words(ranges)["ranges"]))
        received = datetime.fromisoformat(kind["received"])
        return FinishedSession(outcome, kind["output_digest"], kind["route"], received, input_files)

    def _exchanged(self, name: str, asked: JSON) -> tuple[JSON, list[AnonymousFile]]:
        """Return the message with the reply. Raises TimeoutError without a sign of life, and OSError."""
        channel = connect(PREFIX + name, self._silence)
        try:
            channel.send({"type": "request"}, [write_words(asked)])
            while (reply := channel.receive()) is not None:
                if reply[0] != ALIVE:
                    return reply
        finally:
            channel.close()
        raise ConnectionError("The worker has ended.")

    def _listen(self) -> None:
        while not self._closed:
            try:
                channel = accept(self._listener)
            except OSError:
                return
            if channel is not None:
                threading.Thread(target=self._answer, args=[channel], name="gateway-session-peer", daemon=True).start()

    def _answer(self, channel: Channel) -> None:
        """A thread's life: one request of another worker."""
        with contextlib.closing(channel), contextlib.suppress(OSError):
            message = channel.receive()
            if message is None:
                return
            words = read_words(message[1][0])
            try:
                with _signs_of_life(channel, self._silence / SIGNS):
                    reply = self._serve(words["verb"], words["caller"], words["id"], words["words"])
            except Exception as error:
                if not isinstance(error, GatewayError):
                    logger.error("exception\n%s", exception_frames(error))
                    error = GatewayError("The gateway failed; its log has the reason.")
                channel.send({"type": "error"}, write_error(error))
                return
            if isinstance(reply, FinishedSession):
                channel.send(*_finished(reply))
            elif isinstance(reply, SharedFiles):
                channel.send({"type": "files"}, [write_words({"ranges": reply.ranges}), reply.file])
            else:
                channel.send({"type": "words"}, [write_words(reply)])

    def close(self) -> None:
        """Answer no other worker any more."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextlib.contextmanager
def _signs_of_life(channel: Channel, seconds: float) -> Iterator[None]:
    """Send a sign of life each so many seconds while the block runs."""
    over = threading.Event()

    def send() -> None:
        with contextlib.suppress(OSError):  # the caller has gone
            while not over.wait(seconds):
                channel.send(ALIVE)

    threading.Thread(target=send, name="gateway-session-alive", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _finished(reply: FinishedSession) -> tuple[JSON, list[AnonymousFile]]:
    """Return the answer of a session as a message: its own files, then those of its request."""
    files, (bulk, ranges) = write_result(reply.result, TransferContext()), gathered(reply.files)
    words: JSON = {"type": "finished", "output_digest": reply.output_digest, "route": reply.route}
    words |= {"received": reply.received.isoformat(), "files": len(files)}
    return words, [*files, write_words({"ranges": ranges}), bulk]


def new_id(link: SessionLink | None) -> str:
    """Return the id of a new session of this worker: its own name, where others reach it, and a secret."""
    return (link.name if link else "") + secrets.token_hex(SECRET_DIGITS // 2)


def ask_holder(link: SessionLink | None, serve: Serve, verb: str, caller: str, id: str, words: JSON) -> Reply:
    """Return the reply of a session: of this worker by ``serve``, or of the worker that its id names.

    Raises what that raises, and SessionGone without such a worker.
    """
    name = id[:-SECRET_DIGITS]
    if link is None or name == link.name:
        return serve(verb, caller, id, words)
    return link.forward(name, verb, caller, id, words)
