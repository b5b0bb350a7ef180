"""Messages between the processes of a server: small JSON documents, with open files passed along.

A message is one packet of a Unix socket (``SOCK_SEQPACKET``, unix(7)); descriptors travel beside it (``SCM_RIGHTS``).
Whatever may be large lies in the files. Nothing is ever unpickled.
"""

import array
import contextlib
import ctypes
import json
import os
import secrets
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.spool.anonymous_files import AnonymousFile

MAX_MESSAGE = 96 << 10
"""Bytes of one message, half of what a socket's buffer holds by default: names, numbers and a batch of them."""
MAX_DESCRIPTORS = 253
"""Files with one message; SCM_MAX_FD of Linux."""

Words = dict[str, Any]


class Channel:
    """An end of a connection between two processes of the gateway, which read one clock."""

    clock_offset = 0.0

    def __init__(self, end: socket.socket) -> None:
        self.socket = end

    def fileno(self) -> int:
        """For selectors."""
        return self.socket.fileno()

    def send(self, words: Words, files: Sequence[AnonymousFile] = ()) -> None:
        """Send a message. Raises OSError when the other end is gone, or does not read."""
        text = json.dumps(words, separators=(",", ":")).encode()
        if len(text) > MAX_MESSAGE:
            raise ValueError(f"a message of {len(text)} bytes; at most {MAX_MESSAGE} go at once")
        rights = array.array("i", [file.descriptor for file in files])
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if files else []
        self.socket.sendmsg([text], ancillary, socket.MSG_NOSIGNAL)

    def receive(self) -> tuple[Words, list[AnonymousFile]] | None:
        """The next message and its files; None when the other end is gone."""
        room = socket.CMSG_SPACE(MAX_DESCRIPTORS * struct.calcsize("i"))
        try:
            text, ancillary, _flags, _address = self.socket.recvmsg(MAX_MESSAGE, room, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            return None
        files = [AnonymousFile(descriptor) for descriptor in _descriptors(ancillary)]
        return (json.loads(text), files) if text else None

    def hang_up(self) -> None:
        """End the conversation; both ends read that it is over."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this end; the other reads that it is over."""
        self.hang_up()
        self.socket.close()


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> Iterator[int]:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            whole = len(data) - len(data) % struct.calcsize("i")
            yield from array.array("i", data[:whole])


def pair() -> tuple[Channel, Channel]:
    """Two connected ends."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(one), Channel(other)


def listen() -> tuple[socket.socket, str]:
    """A listening socket and its address: without a file to be left behind, and guarded by ``accept``."""
    address = f"\0gateway-{secrets.token_hex(16)}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen()
    return listener, address


def accept(listener: socket.socket) -> Channel | None:
    """A process of our own user that connects; None for anyone else's."""
    connection, _ = listener.accept()
    if not _is_ours(connection):
        connection.close()
        return None
    return Channel(connection)


def connect(address: str, patience: float | None = None) -> Channel:
    """Connect to a listening process of our own user: another's may take the name of one that has ended.

    Each wait for the other end takes ``patience`` seconds at most, None for as long as it takes. Raises OSError:
    TimeoutError, and BlockingIOError at once where ``patience`` is given and its queue of connections is full.
    """
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    end.settimeout(patience)
    try:
        end.connect(address)
        if not _is_ours(end):
            raise PermissionError("the process at this address is another user's")
    except OSError:
        end.close()
        raise
    return Channel(end)


def _is_ours(connection: socket.socket) -> bool:
    """Return True for a process of our own user at the other end (unix(7), SO_PEERCRED)."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, user, _group = struct.unpack("3i", credentials)
    return bool(user == os.geteuid())


PR_SET_PDEATHSIG = 1


def die_with_parent(signal: int) -> None:
    """Have the kernel send ``signal`` when the thread that started this process ends (prctl(2))."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal)
