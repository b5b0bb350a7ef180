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
from gateway.contract.execution import Execution
from gateway.executors.device_ledger import Assignment, DeviceLedger
from gateway.executors.found_devices import offered
from gateway.executors.messages import Channel, Words, accept
from gateway.executors.model_process import ModelProcess
from gateway.executors.ray.cluster import LOCAL
from gateway.executors.ray.ray_replica import BridgeProcess
from gateway.executors.scheduler import Call, ModelScheduler, ReplicaProcess
from gateway.observe import jsonlogs
from gateway.spool.anonymous_files import AnonymousFile

logger = logging.getLogger("gateway.supervisor")

TICK = 1.0
"""Seconds at most between two looks at the clock."""
HEALTH_SECONDS = 0.05
"""The least time between two reports of health to the workers."""


@dataclass(eq=False)
class WorkerConnection:
    """An HTTP worker: its channel, and the calls of it that are not answered, by its own numbers."""

    channel: Channel
    calls: dict[int, Call] = field(default_factory=dict)

    def send(self, words: Words, files: tuple[AnonymousFile, ...] | list[AnonymousFile] = ()) -> None:
        """Send, if it is still there; its end is noticed where it is read from."""
        try:
            self.channel.send(words, files)
        except OSError:
            self.channel.hang_up()


class Supervisor:
    """The supervisor: one thread and one selector. Each event is that of a channel, a process or the clock."""

    def __init__(self, app: str, listener: socket.socket, settings: Settings, *, started: bool) -> None:
        self._app = app
        self._settings = settings
        self._selector = selectors.DefaultSelector()
        self._workers: set[WorkerConnection] = set()
        self._schedulers: dict[str, ModelScheduler] = {}
        self._ledger = DeviceLedger(settings.devices, lambda: offered(settings.devices, os.environ))
        self._bridge = BridgeProcess(app, local=settings.ray == LOCAL) if settings.ray else None
        self._declared: dict[str, Words] = {}
        self._generation = 0
        self._started = started
        self._closing = False
        self._published: dict[str, Any] = {}
        self._published_at = 0.0
        self._unpublished = False
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
        """Run until the server is gone and every model is closed."""
        while not (self._closing and not any(scheduler.processes for scheduler in self._schedulers.values())):
            for key, _ in self._selector.select(self._pause()):
                if self._selector.get_map().get(key.fd) is key:  # an event before may have closed it
                    key.data()
            now = time.monotonic()
            for scheduler in self._schedulers.values():
                scheduler.reap(now)  # of all, before any is started on a device that one of them had
            for scheduler in self._schedulers.values():
                scheduler.advance(now)
            self._tell_health(now)
        if self._bridge is not None:
            self._bridge.close()

    def _pause(self) -> float:
        now = time.monotonic()
        times = [when for scheduler in self._schedulers.values() if (when := scheduler.wake(now)) is not None]
        times += [self._published_at + HEALTH_SECONDS] if self._unpublished else []
        pause = min([TICK, *(when - now for when in times)])
        return max(0.0, pause)

    def _watch(self, source: Any, act: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, act)

    def _signalled(self) -> None:
        """A signal has come; where it tells of a process that ended, its channel may yet be open in a child of it."""
        with contextlib.suppress(BlockingIOError):
            while self._wake.recv(64):
                pass
        for scheduler in self._schedulers.values():
            for process in scheduler.processes.values():
                if process.ended:
                    process.channel.hang_up()  # what it said is still read, and then that it is over

    def _orphaned(self) -> None:
        """The other end of standard input is closed: the server is gone."""
        if not os.read(sys.stdin.fileno(), 64):
            self._selector.unregister(sys.stdin.buffer)
            self._closing = True
            for scheduler in self._schedulers.values():
                scheduler.close()
            if self._bridge is not None:
                self._bridge.let_go()

    def _accept(self, listener: socket.socket) -> None:
        channel = accept(listener)
        if channel is None:
            logger.warning("refused a connection of another user")
            return
        channel.socket.settimeout(1.0)
        worker = WorkerConnection(channel)
        self._workers.add(worker)
        self._watch(channel, lambda: self._from_worker(worker))

    def _from_worker(self, worker: WorkerConnection) -> None:
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
            self._schedulers[call.model].cancel(call)
        elif words["type"] == "answer" and words["id"] in worker.calls:
            call = worker.calls[words["id"]]
            self._schedulers[call.model].answer(call, words["deadline"], files)

    def _lost(self, worker: WorkerConnection) -> None:
        """A worker has gone, and nobody waits for its calls."""
        self._selector.unregister(worker.channel)
        worker.channel.close()
        self._workers.discard(worker)
        for call in list(worker.calls.values()):
            self._schedulers[call.model].cancel(call)

    def _hello(self, worker: WorkerConnection, words: Words) -> None:
        """A worker says which models it serves, and of which generation of the code."""
        newer = words["generation"] > self._generation
        self._generation = max(self._generation, words["generation"])
        for declared in words["models"]:
            if declared["name"] not in self._schedulers:
                self._schedulers[declared["name"]] = self._scheduler(declared["name"])
        new = newer or not all(self._schedulers[declared["name"]].configured for declared in words["models"])
        refused = self._place(words["models"]) if new else {}
        for declared in words["models"]:
            scheduler = self._schedulers[declared["name"]]
            if newer or not scheduler.configured:
                self._declared[declared["name"]] = declared
                scheduler.configure(declared, self._generation, refused.get(declared["name"], ""))
        if newer:
            named = {declared["name"] for declared in words["models"]}
            for name, scheduler in self._schedulers.items():
                if name not in named:
                    scheduler.close()
        for name, known in self._published.items():
            worker.send({"type": "health", "model": name, **known})

    def _place(self, models: list[Words]) -> dict[str, str]:
        """Plan a device for each model process; return a sentence for each model that cannot have one. Ray has its own.

        All workers of a generation declare the same models.
        """
        options = ("processes", "devices", "memory")
        declared = {one["name"]: Execution(**{name: one[name] for name in options}) for one in models}
        refused = {} if self._bridge else self._ledger.plan(declared)
        for sentence in set(refused.values()):
            logger.error("models are not started: %s", sentence)
        return refused

    def _scheduler(self, name: str) -> ModelScheduler:
        def start(number: int, assignment: Assignment) -> ReplicaProcess:
            process: ReplicaProcess = (
                self._bridge.start(number, self._declared[name])
                if self._bridge
                else ModelProcess(number, self._app, name, assignment)
            )
            self._watch(process.channel, lambda: self._from_process(scheduler, process))
            return process

        scheduler = ModelScheduler(name, self._settings, self._ledger, start)
        return scheduler

    def _call(self, worker: WorkerConnection, words: Words, files: list[AnonymousFile]) -> None:
        call = Call(words["id"], words["model"], words["key"], words["deadline"], files, worker)
        worker.calls[call.number] = call
        self._schedulers[call.model].submit(call, time.monotonic())

    def _from_process(self, scheduler: ModelScheduler, process: ReplicaProcess) -> None:
        try:
            message = process.channel.receive()
        except (OSError, ValueError):
            message = None
        if message is not None:
            scheduler.on_message(process, *message, time.monotonic())
            return
        self._selector.unregister(process.channel)
        process.channel.close()
        scheduler.died(process, time.monotonic())

    def _tell_health(self, now: float) -> None:
        self._unpublished = now - self._published_at < HEALTH_SECONDS
        if self._unpublished:
            return
        for name, scheduler in self._schedulers.items():
            known = {"health": scheduler.health(now).words(), "card": scheduler.card}
            if scheduler.configured and known != self._published.get(name):
                self._published[name], self._published_at = known, now
                self._tell_all({"type": "health", "model": name, **known})
        self._started = self._started or (
            bool(self._schedulers) and all(scheduler.replicas.ever_ready for scheduler in self._schedulers.values())
        )
        fatal = next((scheduler.fatal for scheduler in self._schedulers.values() if scheduler.fatal), "")
        if fatal and not self._started:
            self._tell_all({"type": "fatal", "text": fatal})

    def _tell_all(self, words: Words) -> None:
        for worker in list(self._workers):
            worker.send(words)


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
