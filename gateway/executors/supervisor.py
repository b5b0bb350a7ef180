"""The process between the HTTP workers and the model processes: ``python -m gateway.executors.supervisor``.

It starts and watches the model processes, keeps each model's line, hands calls and answers on without looking into
them, and tells every worker how the models are. It imports no model. It lives as long as the server's master or one of
its workers does: they hold the other end of its standard input.
"""

import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.config import Settings
from gateway.executors.desks import Call, Desk
from gateway.executors.messages import Channel, Words, accept
from gateway.executors.processes import ModelProcess
from gateway.observe import jsonlogs
from gateway.unnamed import UnnamedFile

logger = logging.getLogger("gateway.supervisor")

TICK = 1.0
"""Seconds at most between two looks at the clock."""
HEALTH_SECONDS = 0.05
"""The least time between two reports of health to the workers."""


@dataclass(eq=False)
class Worker:
    """An HTTP worker: its channel, and the calls of it that are not answered, by its own numbers."""

    channel: Channel
    calls: dict[int, Call] = field(default_factory=dict)

    def tell(self, words: Words, files: tuple[UnnamedFile, ...] | list[UnnamedFile] = ()) -> None:
        """Send, if it is still there; its end is noticed where it is read from."""
        try:
            self.channel.send(words, files)
        except OSError:
            self.channel.hang_up()


class Supervisor:
    """One thread, one selector: all that happens is an event of a channel, a process or the clock."""

    def __init__(self, app: str, listener: socket.socket, settings: Settings, *, started: bool) -> None:
        self._app = app
        self._settings = settings
        self._selector = selectors.DefaultSelector()
        self._workers: set[Worker] = set()
        self._desks: dict[str, Desk] = {}
        self._generation = 0
        self._started = started
        self._closing = False
        self._told: dict[str, Any] = {}
        self._told_at = 0.0
        self._untold = False
        """Whether the workers may know less than is known here, since they were told of something else just before."""
        self._watch(listener, lambda: self._accept(listener))
        self._watch(sys.stdin.buffer, self._orphaned)
        self._wake, wake = socket.socketpair()
        self._wake.setblocking(False)
        wake.setblocking(False)
        self._watch(self._wake, self._signalled)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._wake_end = wake

    def run(self) -> None:
        """Until the server is gone and every model is closed."""
        while not (self._closing and not any(desk.processes for desk in self._desks.values())):
            for key, _ in self._selector.select(self._pause()):
                if self._selector.get_map().get(key.fd) is key:  # an event before may have closed it
                    key.data()
            now = time.monotonic()
            for desk in self._desks.values():
                desk.advance(now)
            self._tell_health(now)

    def _pause(self) -> float:
        now = time.monotonic()
        times = [when for desk in self._desks.values() if (when := desk.wake(now)) is not None]
        times += [self._told_at + HEALTH_SECONDS] if self._untold else []
        pause = min([TICK, *(when - now for when in times)])
        return max(0.0, pause)

    def _watch(self, source: Any, act: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, act)

    def _signalled(self) -> None:
        """A signal has come; where it tells of a process that ended, its channel may yet be open in a child of it."""
        with contextlib.suppress(BlockingIOError):
            while self._wake.recv(64):
                pass
        for desk in self._desks.values():
            for process in desk.processes.values():
                if process.ended:
                    process.channel.hang_up()  # what it said is still read, and then that it is over

    def _orphaned(self) -> None:
        """The other end of standard input is closed: the server is gone."""
        if not os.read(sys.stdin.fileno(), 64):
            self._selector.unregister(sys.stdin.buffer)
            self._closing = True
            for desk in self._desks.values():
                desk.close()

    def _accept(self, listener: socket.socket) -> None:
        channel = accept(listener)
        if channel is None:
            logger.warning("refused a connection of another user")
            return
        channel.socket.settimeout(1.0)
        worker = Worker(channel)
        self._workers.add(worker)
        self._watch(channel, lambda: self._from_worker(worker))

    def _from_worker(self, worker: Worker) -> None:
        try:
            message = worker.channel.receive()
        except (OSError, ValueError):
            message = None
        if message is None:
            self._lost(worker)
            return
        words, files = message
        if words["type"] == "hello":
            self._hello(worker, words)
        elif words["type"] == "call":
            self._call(worker, words, files)
        elif words["type"] == "cancel" and words["id"] in worker.calls:
            call = worker.calls[words["id"]]
            self._desks[call.model].cancel(call)

    def _lost(self, worker: Worker) -> None:
        """A worker has gone, and nobody waits for its calls."""
        self._selector.unregister(worker.channel)
        worker.channel.close()
        self._workers.discard(worker)
        for call in list(worker.calls.values()):
            self._desks[call.model].cancel(call)

    def _hello(self, worker: Worker, words: Words) -> None:
        """A worker says which models it serves, and of which generation of the code."""
        newer = words["generation"] > self._generation
        self._generation = max(self._generation, words["generation"])
        for running in words["models"]:
            desk = self._desks.get(running["name"])
            if desk is None:
                desk = self._desks[running["name"]] = self._desk(running["name"])
            if newer or not desk.configured:
                desk.configure(running, self._generation)
        if newer:
            named = {running["name"] for running in words["models"]}
            for name, desk in self._desks.items():
                if name not in named:
                    desk.close()
        for name, known in self._told.items():
            worker.tell({"type": "health", "model": name, **known})

    def _desk(self, name: str) -> Desk:
        def start(number: int) -> ModelProcess:
            process = ModelProcess(number, self._app, name)
            self._watch(process.channel, lambda: self._from_process(desk, process))
            return process

        desk = Desk(name, self._settings, start)
        return desk

    def _call(self, worker: Worker, words: Words, files: list[UnnamedFile]) -> None:
        call = Call(words["id"], words["model"], words["key"], words["deadline"], files, worker)
        worker.calls[call.number] = call
        self._desks[call.model].submit(call, time.monotonic())

    def _from_process(self, desk: Desk, process: ModelProcess) -> None:
        try:
            message = process.channel.receive()
        except (OSError, ValueError):
            message = None
        if message is not None:
            desk.heard(process, *message, time.monotonic())
            return
        self._selector.unregister(process.channel)
        process.channel.close()
        desk.died(process, time.monotonic())

    def _tell_health(self, now: float) -> None:
        for desk in self._desks.values():
            desk.bury(now)
        self._untold = now - self._told_at < HEALTH_SECONDS
        if self._untold:
            return
        for name, desk in self._desks.items():
            known = {"health": desk.health(now).words(), "card": desk.card}
            if desk.configured and known != self._told.get(name):
                self._told[name], self._told_at = known, now
                self._tell_all({"type": "health", "model": name, **known})
        self._started = self._started or (
            bool(self._desks) and all(desk.fleet.ever_ready for desk in self._desks.values())
        )
        fatal = next((desk.fatal for desk in self._desks.values() if desk.fatal), "")
        if fatal and not self._started:
            self._tell_all({"type": "fatal", "text": fatal})

    def _tell_all(self, words: Words) -> None:
        for worker in list(self._workers):
            worker.tell(words)


def main(words: str) -> None:
    """Serve the listening socket that was inherited."""
    given = json.loads(words)
    settings = Settings.from_environment()
    jsonlogs.configure(settings)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    listener = socket.socket(fileno=given["listener"])
    Supervisor(given["app"], listener, settings, started=given["started"]).run()


if __name__ == "__main__":
    main(sys.argv[1])
