"""A model process as its supervisor sees it: started anew, never forked, so that CUDA and threads are its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time

from gateway.executors.device_ledger import Assignment
from gateway.executors.messages import Words, pair

END_SECONDS = 5.0
"""How long a process may take to end once its channel is closed."""


class ModelProcess:
    """A model process, and its channel."""

    def __init__(self, number: int, app: str, model: str, assignment: Assignment) -> None:
        self.number = number
        self.channel, theirs = pair()
        self.channel.socket.settimeout(1.0)
        self._reason = ""
        self.lost_at: float | None = None
        """When its channel was closed; it may take a moment more to end."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gateway.executors.host", str(theirs.fileno()), app, assignment.device, model],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            env=os.environ | assignment.environment,
        )
        theirs.socket.close()

    @property
    def ended(self) -> bool:
        """Return True if it has ended; its id is not reused before ``reap``."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return self._process.returncode is not None or os.waitid(os.P_PID, self._process.pid, flags) is not None

    def note(self, words: Words) -> None:
        """Take why it is about to end, which its exit status would not say."""
        self._reason = words["text"]

    def is_innocent(self, *, busy: bool) -> bool:
        """Return False: what ends it is the model, as far as can be told."""
        return False

    def kill(self) -> None:
        """End it and all that it started, at once."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Reap it: wait a moment for its exit status, kill it where it has none, and kill what it started."""
        self._wait()
        self.kill()
        self._wait()
        self._process.poll()

    def overdue(self, now: float) -> bool:
        """Return True if it should have ended by now."""
        return self.lost_at is not None and now - self.lost_at > END_SECONDS

    def why(self) -> str:
        """Describe how it ended."""
        if self._reason:
            return self._reason
        code = self._process.poll()
        if code is None:
            return "it closed its channel"
        if code >= 0:
            return f"it exited with status {code}"
        return f"it was ended by {_name(-code)}" + (", perhaps out of memory" if code == -signal.SIGKILL else "")

    def _wait(self) -> None:
        deadline = time.monotonic() + 0.1
        while not self.ended and time.monotonic() < deadline:
            time.sleep(0.002)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
