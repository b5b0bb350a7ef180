"""A model process as its supervisor sees it: started anew, never forked, so that CUDA and threads are its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time

from gateway.executors.messages import pair

END_SECONDS = 5.0
"""How long a process may take to end once its channel is closed."""


class ModelProcess:
    """One process, its channel, and the numbers of the calls that it is at."""

    def __init__(self, number: int, app: str, model: str) -> None:
        self.number = number
        self.channel, theirs = pair()
        self.channel.socket.settimeout(1.0)
        self.calls: set[int] = set()
        self.lost_at: float | None = None
        """When its channel was closed; it may take a moment more to end."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gateway.executors.host", str(theirs.fileno()), app, model],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.socket.close()

    @property
    def ended(self) -> bool:
        """Whether it has ended, and is reaped."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """End it and all that it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def overdue(self, now: float) -> bool:
        """Whether it should have ended by now."""
        return self.lost_at is not None and now - self.lost_at > END_SECONDS

    def why(self) -> str:
        """How it ended, in words."""
        code = self._process.poll()
        if code is None:
            return "it closed its channel"
        if code >= 0:
            return f"it exited with status {code}"
        return f"it was ended by {_name(-code)}" + (", perhaps out of memory" if code == -signal.SIGKILL else "")

    def wait(self) -> None:
        """Wait a moment for it to end, so that ``why`` knows."""
        deadline = time.monotonic() + 0.1
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
