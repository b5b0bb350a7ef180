"""Pass requests between workers: from one without a free place to one that has some.

Which worker accepts a connection is chance, and the client's next request on it reaches the same worker. The connection
moves with its head already read, as a file descriptor over a socket that all workers inherit (SCM_RIGHTS, unix(7)).
"""

import mmap
import socket
from collections.abc import Iterator

from gateway.executors.scoreboard import SLOTS

MESSAGE_BYTES = 1 << 17
"""Twice the head of a request at most."""


class Handover:
    """The shared queue of the workers of one generation. Make it in the master, before it forks."""

    def __init__(self) -> None:
        self._room = mmap.mmap(-1, SLOTS)
        """A byte for each worker: 1 where it has a free place."""
        self._sender, self._receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (self._sender, self._receiver):
            end.setblocking(False)

    def fileno(self) -> int:
        """The descriptor that is readable while a request is pending."""
        return self._receiver.fileno()

    def publish(self, slot: int, *, has_room: bool) -> None:
        """Publish whether the worker on ``slot`` has a free place; one that has ended has none."""
        self._room[slot % SLOTS] = has_room

    def others_have_room(self, slot: int) -> bool:
        """Return whether a worker other than that on ``slot`` has a free place."""
        return self._room[:].count(True) > self._room[slot % SLOTS]

    def send(self, connection: socket.socket, head: bytes) -> bool:
        """Pass on a connection and the bytes read of it; return whether that succeeded. The caller then closes it."""
        try:
            socket.send_fds(self._sender, [head], [connection.fileno()])
        except OSError:  # the queue is full, or the head too long for it
            return False
        return True

    def receive(self) -> Iterator[tuple[socket.socket, bytes]]:
        """Yield the connection that has waited longest, and what has been read of it; nothing without one."""
        try:
            head, files, _, _ = socket.recv_fds(self._receiver, MESSAGE_BYTES, 1)
        except OSError:  # another worker was faster, or this one has no file left
            return
        for file in files:
            yield socket.socket(fileno=file), head

    def close(self) -> None:
        """Close the ends of this process; what workers publish stays readable."""
        self._sender.close()
        self._receiver.close()


_of_generation: dict[int, Handover] = {}


def of_generation(number: int) -> Handover:
    """Return the handover of a generation's workers, made at the first call; the master closes those of others."""
    for former in [each for each in _of_generation if each != number]:
        _of_generation.pop(former).close()
    return _of_generation.get(number) or _of_generation.setdefault(number, Handover())
