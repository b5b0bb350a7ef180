"""A model process: ``python -m gateway.executors.host DESCRIPTOR APP DEVICE MODEL``, started by the supervisor.

It imports the application, sets up one of its models, and answers one run after another. The model runs in the main
thread, as CUDA and signal handlers want it; another thread listens for what is cancelled.
"""

import logging
import math
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NoReturn, Protocol

from gunicorn.util import import_app

from gateway.contract.model import Model
from gateway.contract.requests import JSON, EncodedAnswer, Request
from gateway.dicom.decoding import pool as decoding
from gateway.errors import Cancelled, GatewayError, ModelFailed, from_words
from gateway.executors import own_device
from gateway.executors.device_errors import DeviceFailed
from gateway.executors.forks import ALARMS, LEFT_OVER_SECONDS, do_nothing, end_within, let_go_in_children
from gateway.executors.messages import Channel, Words, die_with_parent
from gateway.executors.runner import AnswerChecks, answer, prepare, retire
from gateway.executors.surroundings import keep_standard_streams
from gateway.executors.transfer import (
    Piece,
    TransferContext,
    read_request,
    read_words,
    write_error,
    write_question,
    write_result,
)
from gateway.observe import jsonlogs
from gateway.observe.logs import TaggedLogger, exception_frames, quiet_hooks
from gateway.protocol.response import check
from gateway.spool.anonymous_files import AnonymousFile
from gateway.spool.process_memory import keep_memory_flat, spare_collections

logger = logging.getLogger("gateway")

LOOK_SECONDS = 0.25
"""Seconds between two looks of a model that asks at whether its answer is still wanted."""
PROGRESS_SECONDS = 0.1
"""The least time between two reports of one run's progress."""
LOG_LINE = 4_096
"""Characters of one line: a message has 96 KiB, of which a character takes six bytes at most."""
LOG_CHARACTERS = 320 * 1024
"""Characters that one request may log for its caller, somewhat more than a run keeps: it reports what it drops."""
SERVER_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""They reach whole groups of processes; this process ends when the supervisor says so."""


class HostChannel(Protocol):
    """The connection of a host with its supervisor: a ``Channel``, or one through another engine."""

    clock_offset: float
    """Seconds to add to a time of the other end, so that it is one of this machine's monotonic clock."""

    def send(self, words: Words, files: Sequence[AnonymousFile] = ()) -> None:
        """Send a message."""

    def receive(self) -> tuple[Words, Sequence[Piece]] | None:
        """The next message; None when the other end is gone."""


class SupervisorChannel(Channel):
    """The channel of a model process on this machine, which ends with its supervisor: nobody will take an answer.

    A model may be at its setup, or report its progress, when the server has gone.
    """

    def send(self, words: Words, files: Sequence[AnonymousFile] = ()) -> None:
        """Send a message, or end this process without a word."""
        try:
            super().send(words, files)
        except ConnectionError:
            os._exit(1)


class Host:
    """A model in its process, and the channel to the supervisor."""

    def __init__(self, channel: HostChannel, model: Model, checks: AnswerChecks, *, log_text: bool) -> None:
        self._channel = channel
        self._model = model
        self._checks = checks
        self._log_text = log_text
        self._contexts: dict[int, HostedContext] = {}
        self._work: queue.SimpleQueue[list[tuple[int, list[Piece]]] | None] = queue.SimpleQueue()

    def serve(self) -> None:
        """Answer until told to stop."""
        threading.Thread(target=self._listen, name="gateway-host", daemon=True).start()
        self._channel.send({"type": "ready", "card": asdict(self._model.card)})
        while calls := self._work.get():
            self._run(calls)
            del calls  # while it waits, nothing of a request is held
        retire(self._model)

    def _listen(self) -> None:
        while message := self._channel.receive():
            words, files = message
            if words["type"] == "run":
                self._work.put(self._sorted(words, list(files)))
            elif words["type"] == "cancel":
                self._cancel(words["id"])
            elif words["type"] == "answer" and (context := self._contexts.get(words["id"])):
                context.answer(read_words(files[0]), words["deadline"] + self._channel.clock_offset)
            elif words["type"] == "stop":
                self._work.put(None)
            del message, words, files
        os._exit(1)  # the supervisor is gone; nobody will take an answer

    def _cancel(self, number: int) -> None:
        if context := self._contexts.get(number):  # it may have ended, or end this very moment
            context.cancel()

    def _sorted(self, words: Words, files: list[Piece]) -> list[tuple[int, list[Piece]]]:
        """The calls of a run, each with its files, known as cancellable from now on."""
        found = []
        for number, count in words["calls"]:
            self._contexts[number] = HostedContext(self._channel, number)
            found.append((number, files[:count]))
            files = files[count:]
        return found

    def _run(self, calls: list[tuple[int, list[Piece]]]) -> None:
        started = time.monotonic()
        numbers = [number for number, _ in calls]
        requests = [read_request(files, self._contexts[number]) for number, files in calls]
        for request in requests:
            request.context.deadline += self._channel.clock_offset
        outcomes = answer(self._model, requests, self._checks)
        signal.setitimer(signal.ITIMER_REAL, 0)  # a handler of the model's would raise outside its call
        if failed := next((one for one in outcomes if isinstance(one, DeviceFailed)), None):
            self._channel.send({"type": "lost", "text": str(failed)})
            self._end()
        for number, request, outcome in zip(numbers, requests, outcomes, strict=True):
            context = self._contexts.pop(number)
            files = (
                self._reported(outcome, request) if isinstance(outcome, Exception) else write_result(outcome, context)
            )
            self._channel.send({"type": "outcome", "id": number}, files)
        del outcomes, outcome  # an error holds its frames, and they the request's bytes: no circle may keep them
        waited = sum(request.context.waited for request in requests)
        self._channel.send({"type": "done", "seconds": time.monotonic() - started - waited})

    def _end(self) -> NoReturn:
        """End as in a crash: a broken device would hang what a model, or its library, does at an exit."""
        logging.shutdown()
        os._exit(1)

    def _reported(self, error: Exception, request: Request) -> list[AnonymousFile]:
        """An error as it may leave this process; what it does not say is logged here."""
        if isinstance(error, GatewayError):
            try:
                return write_error(error)
            except (TypeError, ValueError) as unspeakable:  # its members are no JSON
                error = unspeakable
        tagged = TaggedLogger(logger).tag({"request_id": request.request_id, "route": self._model.name})
        tagged.error("exception\n%s", exception_frames(error, with_text=self._log_text))
        return write_error(
            ModelFailed("The model raised an exception. The gateway's log has it under this request id.")
        )


class HostedContext(TransferContext):
    """A run that tells the supervisor how far it is."""

    def __init__(self, channel: HostChannel, number: int) -> None:
        super().__init__()
        self._channel = channel
        self._number = number
        self._reported = 0.0
        self._log_characters = LOG_CHARACTERS
        self._answered, self._answer, self._deadline = threading.Event(), Words(), math.inf

    def progress(self, done: float, total: float, text: str = "") -> None:
        """See ``RequestContext.progress``; what comes too soon after the one before is dropped, but for the last."""
        super().progress(done, total, text)
        if time.monotonic() - self._reported >= PROGRESS_SECONDS or done >= total:
            self._reported = time.monotonic()
            count = {"done": float(done), "total": float(total)}  # numpy's numbers are no JSON
            self._channel.send({"type": "progress", "id": self._number, **count, "text": text[:1000]})

    def log(self, text: str) -> None:
        """See ``RequestContext.log``; what exceeds ``LOG_CHARACTERS`` of a request is dropped."""
        text = text[: min(LOG_LINE, self._log_characters)]
        if text:
            self._log_characters -= len(text)
            self._channel.send({"type": "log", "id": self._number, "text": text})

    def preview(self, picture: bytes, text: str = "") -> None:
        """See ``RequestContext.preview``."""
        file = AnonymousFile.in_memory()
        file.write(picture)
        self._channel.send({"type": "preview", "id": self._number, "text": text[:LOG_LINE]}, [file])

    def ask(self, question: JSON, shown: EncodedAnswer | None = None) -> JSON:
        """See ``RequestContext.ask``."""
        with self.waiting():
            self._channel.send({"type": "ask", "id": self._number}, write_question(question, shown))
            while not self._answered.wait(LOOK_SECONDS):
                if self.cancelled():
                    raise Cancelled
            self._answered.clear()
            words, deadline = self._answer, self._deadline
        self.deadline = deadline
        if "error" in words:
            raise from_words(words["error"])
        return words["answer"]  # type: ignore[no-any-return]

    def answer(self, words: Words, deadline: float) -> None:
        """Take the caller's answer to a question, or the error in its place, and the deadline from now on."""
        self._answer, self._deadline = words, deadline
        self._answered.set()


def main(descriptor: str, target: str, device: str, name: str) -> None:
    """Load, set up, serve. ``device`` is the name of the only one that the environment shows; "" where it shows all."""
    die_with_parent(signal.SIGKILL)
    do_nothing(*SERVER_SIGNALS, *ALARMS)
    keep_memory_flat()
    keep_standard_streams()
    if device:
        own_device.give(device)
    channel = SupervisorChannel(socket.socket(fileno=int(descriptor)))
    let_go_in_children((*SERVER_SIGNALS, *ALARMS), lambda: [channel.socket])
    if not serve_model(channel, target, name):
        sys.exit(1)
    end_within(LEFT_OVER_SECONDS)


def serve_model(channel: HostChannel, target: str, name: str) -> bool:
    """Load an application, set up one of its models, and serve it; False where it could not be set up."""
    try:
        app: Any = import_app(target)
        state = app.service
        decoding.configure(state.settings)
        jsonlogs.configure(state.settings)
        quiet_hooks(state.settings.log_exception_text)
        model = state.models[name]
        prepare(model, warm=True)
    except BaseException as error:
        logger.error("the model on %s could not be set up\n%s", name, exception_frames(error, with_text=True))
        channel.send({"type": "failed", "text": f"{type(error).__name__}: {error}"[:500]})
        return False
    checks = AnswerChecks(app.serializer, state.settings.strict, logger.warning)
    check({}, [], serializer=checks.serializer, strict=True, warn=logger.warning)  # imports now what answers will need
    spare_collections()
    Host(channel, model, checks, log_text=state.settings.log_exception_text).serve()
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
