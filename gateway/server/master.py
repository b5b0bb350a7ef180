"""gunicorn with settings that suit long predictions and large studies: ``serve`` and ``gunicorn -c`` share them."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from gunicorn import glogging
from gunicorn.app.base import BaseApplication
from gunicorn.errors import HaltServer
from gunicorn.util import import_app

from gateway.access import listeners, shared_table
from gateway.config import DEFAULT_PORT, Settings, place_paths
from gateway.contract.execution import HealthState
from gateway.observe import jsonlogs, multiprocess
from gateway.server import import_check
from gateway.server.shared_state import ServerState
from gateway.spool.process_memory import leave_no_dump

DEFAULTS: dict[str, Any] = {
    "worker_class": "gateway.worker.Worker",
    "threads": 16,
    # gthread's main thread notifies the arbiter, whatever the others do; only a worker whose model holds the GIL for
    # this long is killed.
    "timeout": 900,
    # A prediction of ten minutes may finish after SIGTERM; an idle worker stops at once.
    "graceful_timeout": 630,
    "keepalive": 5,
    "control_socket_disable": True,
    # gunicorn would trust SCRIPT_NAME from loopback, where a proxy forwards headers of any client: a path that the
    # proxy allows would then be another path here.
    "forwarder_headers": "",
    "logger_class": "gateway.server.Logger",
    "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,
}
"""gunicorn's settings by gunicorn's names."""
BESIDE: dict[str, Any] = {"worker_class": "gthread", "graceful_timeout": 30}
"""What differs for an application without models: gunicorn's own worker, and requests that end soon."""
WAITS = "gateway.waits"
"""The key of the WSGI environment of an answer that waits: its line in the access log is written at its end."""


class Logger(glogging.Logger):  # type: ignore[misc]
    """gunicorn's own lines, in the configured format and without the texts of exceptions."""

    def setup(self, cfg: Any) -> None:
        """Configure the loggers, at the start and after each reload."""
        super().setup(cfg)
        if self.access_log_enabled:  # else gunicorn's own, which returns at once
            self.access = self._access
        jsonlogs.configure_server(Settings.from_environment())

    def _access(self, response: Any, request: Any, environ: dict[str, Any], duration: timedelta) -> None:
        """Write a line of the access log, at the end of a response that waits."""
        if WAITS not in environ:
            super().access(response, request, environ, duration)


EARLY_DEATHS = 3
"""Workers that may die before the server has ever been ready; as many deaths rest a model process (``replicas``)."""
BOOT_ERROR = 3
"""The exit status of a server that cannot start (gunicorn's Arbiter.WORKER_BOOT_ERROR)."""
NO_STATUS = -1
"""No process exits with it."""


def on_starting(master: Any) -> None:
    """Make what all workers inherit: called in the master before the first worker."""
    handed_over = os.environ.get("LISTEN_PID") == str(os.getpid())  # systemd passes sockets, whatever is configured
    listeners.announce([0] if handed_over else master.cfg.address)
    shared_table.table()
    multiprocess.prepare()
    place_paths(os.environ)
    settings = Settings.from_environment()
    if not settings.core_dumps:
        leave_no_dump()
    ServerState.of_this_server().start(getattr(master.app, "app_uri", None), settings)
    master.reload = partial(_reload, master, master.reload)  # gunicorn has no hook before a reload
    master.reap_workers = partial(_reap, master, master.reap_workers)  # nor one before it acts on an exit status
    master.spawn_worker = partial(_spawn, master.spawn_worker)  # nor one after a fork, in the master


def _reload(master: Any, reload: Callable[[], None]) -> None:
    """Reload at SIGHUP, in the master, unless the application fails to import: gunicorn would end the whole server."""
    app = getattr(master.app, "app_uri", None)
    if app is None or import_check.imports(app):
        reload()
    else:
        master.log.error("The application was not reloaded; the server continues with the loaded one.")


STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""The signals that tell a worker to stop."""


def _spawn(spawn: Callable[[], Any]) -> Any:
    """Fork a worker, and let through what ``pre_fork`` has blocked for it."""
    try:
        return spawn()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def _reap(master: Any, reap: Callable[[], None]) -> None:
    """Reap workers, and end the server where one has said that it cannot start.

    gunicorn takes the exit statuses 3 and 4 for that. Once a worker has booted, they may also be those of a model.
    """
    state = ServerState.of_this_server()
    if state.scoreboard.booted:
        master.WORKER_BOOT_ERROR = master.APP_LOAD_ERROR = NO_STATUS
    reap()
    if state.scoreboard.given_up and not state.halting:
        state.halting = True  # what is reaped from now on ends as it should
        raise HaltServer("Worker failed to boot.", BOOT_ERROR)


def on_reload(master: Any) -> None:
    """Begin a generation after SIGHUP, in the master: addresses and code may have changed."""
    listeners.announce(master.cfg.address)
    ServerState.of_this_server().scoreboard.renew()


def pre_fork(_master: Any, _worker: Any) -> None:
    """Prepare a worker, in the master; a signal that stops it waits until it has handlers of its own.

    It would reach those of the master, which it is forked with, and be lost: the worker would serve on, and the master
    would wait for it until ``graceful_timeout``.
    """
    ServerState.of_this_server().before_fork()
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)


def post_worker_init(_worker: Any) -> None:
    """Take the signals that have waited, in a worker of any class; the gateway's own takes them before it loads."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def child_exit(master: Any, worker: Any) -> None:
    """Clean up after a worker, in the master, however it ended."""
    multiprocess.worker_exited(worker.pid)
    worker.handover.publish(worker.age, has_room=False)
    state = ServerState.of_this_server()
    died_early = _died_early(state.scoreboard.clear(worker.age))
    if died_early and master.LISTENERS and not state.scoreboard.started:  # one that stops has closed them
        state.early_deaths += 1
    if state.early_deaths == EARLY_DEATHS:
        master.log.error("This server cannot start: %d workers died before its models were ready.", EARLY_DEATHS)
        state.scoreboard.give_up()


def _died_early(words: Mapping[str, Any]) -> bool:
    """Return True if a worker's last words are those of one that had models to set up, and was not told to stop."""
    states = [model["state"] for model in words.get("models", {}).values()]
    return words.get("draining") is False and (not states or HealthState.STARTING in states)


def on_exit(_master: Any) -> None:
    """Clean up after the last worker, in the master."""
    ServerState.of_this_server().close()
    multiprocess.clean_up()


HOOKS: dict[str, Any] = {
    "on_starting": on_starting,
    "on_reload": on_reload,
    "pre_fork": pre_fork,
    "post_worker_init": post_worker_init,
    "child_exit": child_exit,
    "on_exit": on_exit,
}
"""What gunicorn calls in its master (gunicorn's Server Hooks)."""


class _Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, configured from a dict and given an application or its import string."""

    def __init__(self, app: Any, options: dict[str, Any]) -> None:
        self._app = app
        self._options = options
        self.app_uri = app if isinstance(app, str) else None
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return import_app(self._app) if isinstance(self._app, str) else self._app


def serve(app: Any, *, host: str = "127.0.0.1", port: int = DEFAULT_PORT, workers: int = 1, **options: Any) -> None:
    """Serve ``app``, a WSGI application or an import string ``module:name``, until a signal ends it.

    ``options`` are gunicorn's settings by gunicorn's names and override the gateway's. An import string is
    loaded in each worker, never in the master. ``port`` 0 takes a free one; the log names it.
    """
    if isinstance(app, str) and (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)  # as gunicorn's own command does
    settings = {name: value for name, value in options.items() if value is not None}
    _Server(app, DEFAULTS | HOOKS | {"bind": _bound(host, port), "workers": workers} | settings).run()


def serve_beside(app: Any, *, host: str, port: int, **options: Any) -> None:
    """Serve a WSGI application that has no models, in the threads of one process, until a signal ends it."""
    settings = {name: value for name, value in options.items() if value is not None}
    _Server(app, DEFAULTS | BESIDE | {"bind": _bound(host, port)} | settings).run()


def _bound(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
