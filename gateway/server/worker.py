"""The gateway's worker under gunicorn: from loading the application to the end."""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator
from typing import Any, NoReturn

from gateway.access import listeners, shared_table
from gateway.config import Settings
from gateway.errors import GatewayError
from gateway.executors.forks import ALARMS, LEFT_OVER_SECONDS, Closable, do_nothing, end_within, let_go_in_children
from gateway.executors.surroundings import keep_standard_streams
from gateway.observe import jsonlogs
from gateway.observe.logs import exception_frames, quiet_hooks
from gateway.observe.places import in_one_line
from gateway.server import tls_context
from gateway.server.handover import of_generation
from gateway.server.master import STOPS
from gateway.server.shared_state import CLOSE_SECONDS, ServerState
from gateway.server.sharing import SharingWorker
from gateway.spool.disk import unwritable
from gateway.spool.process_memory import keep_memory_flat

RELIEF_TIME = 60.0
"""Seconds that a worker continues after a reload while no new one accepts."""
TICK = 0.5
"""Seconds at most between two turns of the main loop; half of it between two reports of this worker's health."""
SIGNALS = (
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGABRT),
    *(signal.SIGUSR1, signal.SIGWINCH, signal.SIGCHLD),
    *ALARMS,
)
"""Signals that the server handles, or that would end it."""
GIVE_BACK_SECONDS = 5.0
"""Seconds before the master kills this worker (``graceful_timeout``) in which it gives its runs back."""
BOOT_PAUSE = 2.0
"""Seconds before another worker tries to start, if the server has been ready before."""


class Worker(SharingWorker):
    """Loads the application, publishes its health to the others, and ends at a signal or once relieved."""

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse settings that leave no thread to answer that the server is full. Raises SystemExit."""
        super().check_config(cfg, log)
        if "h2" in cfg.http_protocols:
            raise SystemExit("HTTP/2 is not served here: leave http_protocols at h1, and let a proxy speak it.")
        tls_context.require_loadable(cfg)
        reserved = Settings.from_environment().reserved_threads
        if not 0 < reserved < cfg.threads:
            raise SystemExit(
                f"With {cfg.threads} threads and reserved_threads (GATEWAY_RESERVED_THREADS) {reserved} no thread "
                "would be free to answer probes and refusals: reserve at least one, and have more threads than that."
            )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        listeners.announce(self.cfg.address)
        shared_table.table()
        self.server_state = ServerState.of_this_server()
        self.slot = self.server_state.scoreboard.slot(self.age)
        self.handover = of_generation(self.slot.generation)
        self.service: Any = None
        self.stop_at = self.publish_at = 0.0
        self.relief_by = 0.0

    def init_signals(self) -> None:
        """Install this worker's handlers, and take the signals that have arrived since it was forked."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)

    def load_wsgi(self) -> None:
        """Load the application and limit its admitted requests, so that a thread stays free for probes.

        A service that configures no logging logs to standard error.
        """
        keep_memory_flat()
        keep_standard_streams()
        do_nothing(*ALARMS)
        let_go_in_children(SIGNALS, self._held)
        try:
            with self._own_signals():
                super().load_wsgi()
        except BaseException as error:  # one that exits, with whatever status, is not loaded either
            if isinstance(error, SystemExit) and not self.alive:
                raise  # a signal stops this worker
            self._give_up(self._reason(error))
        self.service = getattr(self.wsgi, "extensions", {}).get("gateway")
        settings = self.service.settings if self.service else self.settings
        jsonlogs.configure(settings)
        quiet_hooks(settings.log_exception_text)
        if self.service is not None:
            self.service.admission.max_requests = self.places
            self._open()

    def _reason(self, error: BaseException) -> str:
        """Return why the application is not loaded: one line at the start, all frames after a reload.

        No patient is in them, since no request is.
        """
        if isinstance(error, GatewayError):
            return str(error)
        return exception_frames(error, with_text=True) if self.server_state.scoreboard.booted else in_one_line(error)

    @contextlib.contextmanager
    def _own_signals(self) -> Iterator[None]:
        """Import the application, and answer the server's signals as before, whatever handlers it installs."""
        handlers = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGPIPE)}
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            for number in (signal.SIGTERM, signal.SIGUSR1):
                signal.siginterrupt(number, False)  # as gunicorn has it
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _held(self) -> list[Closable]:
        """What is open here, and shared with clients and the other processes of the server."""
        sharing = filter(None, [self.service and self.service.executors.processes, self.server_state.launcher])
        clients = [conn.sock for conn in self.connections]
        return [*self.sockets, *clients, self.handover, *(each for sharer in sharing for each in sharer.held)]

    def _open(self) -> None:
        """Load the models now, not with the first request; invalid settings end the server with a sentence."""
        self.slot.publish({"models": {}, "draining": False})  # if it dies in a setup, the master sees that it lived
        if not self.service.models and self.service.settings.store_folder is None and self.age == 1:
            self.log.warning("This application has no model: register one, as by @app.model('/').")
        try:
            _require_spool(self.service.settings)
            self.wsgi.open(self.server_state.address, self.slot)
        except (ValueError, ImportError, OSError, GatewayError) as error:
            more = f" ({error.private})" if isinstance(error, GatewayError) and error.private else ""
            self._give_up(f"{error}{more}")
        if self.age == 1:  # the first worker, once
            places = ", ".join(self.service.models) or "no route"
            self.log.info("Models on %s; a browser shows them at %s", places, self.sockets[0])

    def _give_up(self, why: str) -> NoReturn:
        """End the server that cannot start; one that has been ready before continues without this worker."""
        if not self.server_state.scoreboard.started:
            self.log.error("This server cannot start: %s", why)
            self.server_state.scoreboard.give_up()
            raise SystemExit(1)
        self.log.error("This worker cannot start; another will try: %s", why)
        time.sleep(BOOT_PAUSE)
        raise SystemExit(1)

    def run(self) -> None:
        """Serve until told to stop. An error in the main loop ends this worker; the log has its frames, not its text.

        Such an error may be of a model, which can close what this worker polls.
        """
        self.server_state.scoreboard.boot()
        try:
            super().run()
        except Exception as error:
            self.log.error("This worker ends, and another takes its place.\n%s", exception_frames(error))
            end_within(CLOSE_SECONDS)
            raise SystemExit(1) from None
        self._end_long_work()
        self._close_models()

    def _close_models(self) -> None:
        """Close the models, and wait a moment for the threads and child processes that they have left."""
        self.server_state.scoreboard.clear(self.age)  # so that the master knows that it was not killed
        end_within(CLOSE_SECONDS)
        if self.service is not None:
            self.wsgi.close()
        end_within(LEFT_OVER_SECONDS)

    def _end_long_work(self) -> None:
        """Let runs and inputs in work end like requests, within ``graceful_timeout``, and give the others back."""
        long = self._long_work
        late = self.stopped_at + self.cfg.graceful_timeout - GIVE_BACK_SECONDS
        while any(work.busy for work in long) and time.monotonic() < late:
            self.notify()
            time.sleep(TICK / 2)
        for work in long:
            work.close()

    @property
    def _long_work(self) -> list[Any]:
        """Return what outlives a request: the application's runs and sessions, where it has such."""
        found = (getattr(self.wsgi, name, None) for name in ("runs", "sessions"))
        return [work for work in found if work is not None]

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Drain at SIGTERM, and stop after ``drain_delay``: by then load balancers have noticed."""
        if self._awaits_relief():
            self.relief_by = self.relief_by or time.monotonic() + RELIEF_TIME
            return
        if self.service is None or self.service.draining or not self.settings.drain_delay:
            self._drain()
            super().handle_exit(sig, frame)
            return
        self._drain()
        self.stop_at = time.monotonic() + self.settings.drain_delay

    def _awaits_relief(self) -> bool:
        """Return True in a worker of a former generation (SIGHUP) while no worker of the new one accepts."""
        if self.service is None or self.server_state.scoreboard.generation == self.slot.generation or self.slot.read():
            return False
        return not self.relief_by or time.monotonic() < self.relief_by

    def _drain(self) -> None:
        """Report that this worker drains; requests that still arrive wait for a place instead of being refused."""
        self.stopped_at = self.stopped_at or time.monotonic()
        if self.service is not None:
            self.work.threads = self.places
            self.service.admission.max_requests = None
            self.service.draining = True
            self.service.publish()
            for work in self._long_work:
                work.drain()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Run one turn of the main loop, then what is due at a time of its own."""
        super().wait_for_and_dispatch_events(min(timeout, TICK))
        if self.stop_at and time.monotonic() >= self.stop_at:
            self.alive = False
        if self.relief_by and self.alive and not self._awaits_relief():
            self._drain()
            self.alive = False
        if self.service is None:
            return
        if time.monotonic() >= self.publish_at:
            self.publish_at = time.monotonic() + TICK / 2
            self.service.publish()
        if self.service.fatal and not self.server_state.scoreboard.started:
            self.log.error(self.service.fatal)
            logging.shutdown()
            self.server_state.scoreboard.give_up()
            os._exit(1)
        if self.service.lost and self.alive:
            self.log.warning("%s This worker ends, and a new one starts.", self.service.lost)
            self.alive, self.stopped_at = False, time.monotonic()

    @property
    def occupied(self) -> int:
        """Places in use by the application's own count; all of them once it drains."""
        if self.service is None:
            return 0
        return self.places if self.service.draining else int(self.service.occupied)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept connections or not; a stopping worker accepts those that have connected, and closes its listeners.

        gunicorn would leave its listeners open, and later connections without an answer.
        """
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        listening, self.sockets[:] = list(self.sockets), []
        for listener in listening:
            while self.accept(listener):
                pass
            listener.close()
        while self.receive_request():
            pass
        self.waiting.watchers.stop()


def _require_spool(settings: Settings) -> None:
    """Raise ValueError for a spool folder in which no file can be written: each large request would fail."""
    folder = settings.spool_folder
    if folder is not None and (reason := unwritable(folder)):
        raise ValueError(f"spool_folder (GATEWAY_SPOOL_FOLDER): {folder} cannot be written: {reason}.")
