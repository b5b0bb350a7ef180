"""The master's side of the model processes: it starts the supervisor, keeps it alive, and ends it last."""

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys

from gateway.config import Settings
from gateway.executors.forks import Closable
from gateway.executors.messages import listen
from gateway.executors.ray.cluster import require_ray
from gateway.executors.scoreboard import Scoreboard

logger = logging.getLogger("gateway")

_shared: "ServerState | None" = None
CLOSE_SECONDS = 60.0
"""How long models may take to close once the server has stopped."""


class SupervisorLauncher:
    """The supervisor of one server. Workers inherit the end of its standard input, by which it knows that they live.

    ``app`` is an import string, loaded in each model process and never here. ``log`` is the descriptor that all of
    them write their log lines to; None is standard error. Raises ImportError where Ray is configured and missing.
    """

    def __init__(self, app: str, log: int | None = None) -> None:
        require_ray(Settings.from_environment())
        self._app, self._log = app, log
        self._listener, self.address = listen()
        self._process: subprocess.Popen[bytes] | None = None

    def ensure(self, *, started: bool = False) -> None:
        """Start the supervisor if it does not run; ``started`` is True for a server that has been ready before."""
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None:
            logger.error("the supervisor of the model processes has ended; another one starts")
            self._hang_up()
        arguments = {"app": self._app, "listener": self._listener.fileno(), "started": started}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gateway.executors.supervisor", json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stderr=self._log,
            pass_fds=[self._listener.fileno()],
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )

    @property
    def held(self) -> list[Closable]:
        """What a process that a worker forks should close, so that the supervisor notices the server's end."""
        stdin = self._process.stdin if self._process else None
        return [self._listener, *([stdin] if stdin else [])]

    def close(self) -> None:
        """Have the supervisor close the models after the last worker, and wait for it."""
        if self._process is None:
            return
        self._hang_up()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_SECONDS)
        if self._process.poll() is None:
            self._process.kill()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _hang_up(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()


class ServerState:
    """The state that the master makes before it forks: the scoreboard, and the launcher of model processes, if any."""

    def __init__(self) -> None:
        self.scoreboard = Scoreboard()
        self.launcher: SupervisorLauncher | None = None
        self.halting = False
        """Whether the master ends the server, since it cannot start."""
        self.early_deaths = 0
        """Workers that died, and were not told to stop, before the server was ready."""

    @property
    def address(self) -> str:
        """The address of the model processes; "" where there are none."""
        return self.launcher.address if self.launcher else ""

    @staticmethod
    def of_this_server() -> "ServerState":
        """Return the state of this master and its workers, created at the first call."""
        global _shared
        if _shared is None:
            _shared = ServerState()
        return _shared

    def start(self, app: object, settings: Settings) -> None:
        """Prepare model processes. Raises ValueError for an application object: they import it by name."""
        if settings.model_processes:
            if not isinstance(app, str):
                raise ValueError("Model processes need the application's import string, such as models.app:app.")
            self.launcher = SupervisorLauncher(app)

    def before_fork(self) -> None:
        """Start the supervisor, before each worker."""
        if self.launcher is not None:
            self.launcher.ensure(started=self.scoreboard.started)

    def close(self) -> None:
        """Stop the supervisor, after the last worker."""
        if self.launcher is not None:
            self.launcher.close()
