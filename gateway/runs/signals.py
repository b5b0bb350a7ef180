"""Signals that a run has changed, to all processes that share a store: a hint to read the index, and no more.

A lost signal costs time alone: each process looks at the index now and then. A signal is the key of a run and the word
of the change: the run's new state, or the kind of an event.
"""

import contextlib
import logging
import os
import secrets
import select
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, text

from gateway.errors import GatewayError
from gateway.spool.disk import make_private
from gateway.studies.store import Store

logger = logging.getLogger("gateway")

Listener = Callable[[str, str], None]
"""Receives key and word, in a thread of the signals or the one that made the change. Returns at once, never raises."""
CHANNEL = "gateway_runs"
"""The channel of PostgreSQL's NOTIFY."""
PAUSE = 5.0
"""Seconds before a lost connection is made again."""
MESSAGE = 128
"""Bytes of a datagram: a key and a word."""
FOLDER = "signals"
"""The folder of the sockets, in that of the store."""


class Signals(Protocol):
    """The way of signals between the processes of a store."""

    def start(self, listener: Listener) -> None:
        """Pass the signals of all processes to ``listener`` from now on."""

    def announce(self, connection: Connection, changes: Mapping[str, str]) -> None:
        """Announce changes within the transaction that makes them."""

    def announced(self, changes: Mapping[str, str]) -> None:
        """Announce changes that are committed."""

    def close(self) -> None:
        """Stop listening."""


class _Listening:
    """A daemon thread that listens until it is closed, which ends its wait at once."""

    def __init__(self) -> None:
        self._listener: Listener = lambda _key, _word: None
        self._closed = threading.Event()
        self._ending, self._end = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, name="gateway-run-signals", daemon=True)

    def start(self, listener: Listener) -> None:
        """See ``Signals.start``."""
        self._listener = listener
        self._thread.start()

    def _listen(self) -> None:
        raise NotImplementedError

    def _arrives(self, descriptor: int) -> bool:
        """Wait until something can be read from ``descriptor``; return False once the thread should end."""
        poll = select.poll()
        for each in (descriptor, self._ending.fileno()):
            poll.register(each, select.POLLIN)
        poll.poll()
        return not self._closed.is_set()

    def _take(self, message: str) -> None:
        key, _, word = message.partition(" ")
        self._listener(key, word)

    def close(self) -> None:
        """Stop listening."""
        self._closed.set()
        self._end.send(b".")
        if self._thread.is_alive():
            self._thread.join()
        for each in (self._end, self._ending):
            each.close()


class SocketSignals(_Listening):
    """Datagrams to the sockets of all processes on this machine, which lie in the folder of the store (unix(7))."""

    def __init__(self, folder: Path) -> None:
        """Signal to the sockets in ``folder``. Raises OSError where that cannot be."""
        super().__init__()
        make_private(folder / FOLDER)
        # a path of /proc is short, whatever the folder's is: an address has 107 bytes at most
        self._folder = os.open(folder / FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._name = secrets.token_hex(8)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sender.setblocking(False)

    def _address(self, name: str) -> str:
        return f"/proc/self/fd/{self._folder}/{name}"

    def start(self, listener: Listener) -> None:
        """Make a socket of this process, and listen to it. Raises OSError where that cannot be."""
        self._socket.bind(self._address(self._name))
        super().start(listener)

    def announce(self, connection: Connection, changes: Mapping[str, str]) -> None:
        """Do nothing before the commit."""

    def announced(self, changes: Mapping[str, str]) -> None:
        """Tell this process, then the others; what they have no room for they notice later."""
        for key, word in changes.items():
            self._listener(key, word)
        for path in Path(self._address("")).iterdir() if changes else ():
            if path.name != self._name:
                self._send(path.name, changes)

    def _send(self, name: str, changes: Mapping[str, str]) -> None:
        try:
            for key, word in changes.items():
                self._sender.sendto(f"{key} {word}".encode(), self._address(name))
        except (ConnectionRefusedError, FileNotFoundError):  # its process has ended
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self._folder)
        except OSError:  # full: that process reads the index anyhow
            pass

    def _listen(self) -> None:
        while self._arrives(self._socket.fileno()):
            self._take(self._socket.recv(MESSAGE).decode("ascii", "replace"))

    def close(self) -> None:
        """Stop listening, and remove the socket."""
        super().close()
        with contextlib.suppress(OSError):
            os.unlink(self._name, dir_fd=self._folder)
        for each in (self._socket, self._sender):
            each.close()
        os.close(self._folder)


class PostgresSignals(_Listening):
    """NOTIFY within the transaction, LISTEN on a connection of its own."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        """``connect`` opens a connection of psycopg in autocommit."""
        super().__init__()
        self._connect = connect

    def announce(self, connection: Connection, changes: Mapping[str, str]) -> None:
        """Send with the commit."""
        for key, word in changes.items():
            message = {"channel": CHANNEL, "message": f"{key} {word}"}
            connection.execute(text("SELECT pg_notify(:channel, :message)"), message)

    def announced(self, changes: Mapping[str, str]) -> None:
        """Tell this process at once."""
        for key, word in changes.items():
            self._listener(key, word)

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                self._receive()
            except Exception as error:  # the database restarts, or is away
                reason = error.private if isinstance(error, GatewayError) else type(error).__name__
                logger.warning("signals of runs are not received for a while: %s", reason)
                self._closed.wait(PAUSE)

    def _receive(self) -> None:
        with contextlib.closing(self._connect()) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            arrives = True
            while arrives:
                for notice in connection.notifies(timeout=0):
                    self._take(notice.payload)
                arrives = self._arrives(connection.fileno())


def signals_of(store: Store) -> Signals:
    """Return the signals between the processes of a store. Raises OSError where it has no place for them."""
    return SocketSignals(store.folder) if store.index.is_sqlite else PostgresSignals(store.index.driver_connection)
