"""A replica as the supervisor sees it: a channel through the bridge, in place of a process of its own."""

import contextlib
import json
import logging
import select
import subprocess
import sys

from gateway.executors.messages import Channel, Words, pair
from gateway.spool.anonymous_files import AnonymousFile

logger = logging.getLogger("gateway.supervisor")

END_SECONDS = 15.0
"""How long the bridge may take to end a cluster of this machine."""


class RayReplica:
    """An actor of the cluster, and its channel. Its end is that of the channel."""

    def __init__(self, number: int, channel: Channel) -> None:
        self.number = number
        self.channel = channel
        self.channel.socket.settimeout(1.0)
        self.lost_at: float | None = None
        self._reason, self._lost = "the connection to the Ray cluster ended", True

    @property
    def ended(self) -> bool:
        """Return True once its channel is closed: the bridge kills what it still is."""
        return self.lost_at is not None

    def note(self, words: Words) -> None:
        """Take why it is about to end."""
        self._reason, self._lost = words["text"], words.get("innocent", False)

    def is_innocent(self, *, busy: bool) -> bool:
        """Return True if its end says nothing of its model: it was out of reach, or at nothing."""
        return self._lost or not busy

    def kill(self) -> None:
        """End it, whatever it does."""
        self.channel.hang_up()

    def reap(self) -> None:
        """Leave its end to the bridge."""

    def overdue(self, _now: float) -> bool:
        """Return False: there is no process here to end."""
        return False

    def why(self) -> str:
        """Describe how it ended."""
        return self._reason


class BridgeProcess:
    """The bridge, started with the first replica, and again when it has ended."""

    def __init__(self, app: str, *, local: bool) -> None:
        self._app = app
        self._local = local
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None

    def start(self, number: int, declared: Words) -> RayReplica:
        """Start a replica of a model, as a worker has declared it."""
        ours, theirs = pair()
        words = {"model": declared["name"]} | {name: declared[name] for name in ("devices", "memory", "bundles")}
        file = AnonymousFile(theirs.socket.detach())
        with contextlib.suppress(OSError):  # it has just ended: so has the replica
            self._running().send(words, [file])
        return RayReplica(number, ours)

    def _running(self) -> Channel:
        if self._channel is not None and self._process is not None and self._process.poll() is None:
            return self._channel
        if self._process is not None:
            logger.error("the bridge to the Ray cluster has ended; another one starts")
        self._channel, theirs = pair()
        self._channel.socket.settimeout(1.0)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gateway.executors.ray.bridge", json.dumps([theirs.fileno(), self._app])],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.socket.close()
        return self._channel

    def let_go(self) -> None:
        """End it where it is still trying to reach a cluster, and so the replicas that wait for that.

        A cluster of this machine is always reached, and what is started of it should be ended in order.
        """
        if self._process is not None and not self._local and not self._connected():
            self._process.kill()

    def _connected(self) -> bool:
        """Return True once the bridge has said so: nothing else is ever sent."""
        return self._channel is not None and bool(select.select([self._channel], [], [], 0)[0])

    def close(self) -> None:
        """End it, once its replicas have ended."""
        if self._process is None or self._channel is None:
            return
        self._channel.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
