"""A replica of a model as an actor of Ray: the host of model processes, with Ray in place of its channel.

On the node of the bridge it has a channel, since both share memory there.

It runs on a node of the cluster, where the same gateway is installed. Every method takes and returns bytes of JSON
and numpy arrays of uint8. None raises what a model has raised, which Ray would pickle.
"""

import json
import logging
import mmap
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gateway.executors import own_device
from gateway.executors.host import serve_model
from gateway.executors.messages import Channel, Words, connect
from gateway.executors.ray.node_bundle import BundleRefused, NodeBundle
from gateway.executors.transfer import Piece
from gateway.spool.anonymous_files import AnonymousFile
from gateway.spool.process_memory import keep_memory_flat, leave_no_dump

Blob = np.ndarray[Any, np.dtype[np.uint8]]
"""Bytes as Ray carries them without a copy: one axis, uint8, read-only where it is received."""
Heard = list[tuple[bytes, list[Blob]]]
"""Messages of a replica: JSON, and the files of each."""


class ActorChannel:
    """The actor's connection with the bridge: what it is told, and what it has to say."""

    def __init__(self) -> None:
        self.clock_offset = 0.0
        self._told: queue.SimpleQueue[tuple[Words, list[Piece]]] = queue.SimpleQueue()
        self._said: queue.SimpleQueue[tuple[bytes, list[Blob]] | None] = queue.SimpleQueue()

    def send(self, words: Words, files: Sequence[AnonymousFile] = ()) -> None:
        """Have the next ``heard`` return a message."""
        self._said.put((json.dumps(words).encode(), [blob(file) for file in files]))

    def receive(self) -> tuple[Words, list[Piece]]:
        """The next message of the bridge."""
        return self._told.get()

    def tell(self, words: Words, files: list[Piece]) -> None:
        """Have the next ``receive`` return a message."""
        self._told.put((words, files))

    def heard(self) -> Heard:
        """Wait for messages; return those that are there. None are the end."""
        found: Heard = []
        while not found or not self._said.empty():
            message = self._said.get()
            if message is None:
                self._said.put(None)  # for the next call, where there are messages before
                break
            found.append(message)
        return found

    def end(self) -> None:
        """Have ``heard`` return no more."""
        self._said.put(None)


class ReplicaActor:
    """The actor. Its model runs in a thread of its own: from ``begin`` on, until it is told to stop."""

    def __init__(self) -> None:
        self._channel = ActorChannel()
        self._bundle: NodeBundle | None = None

    def place(self) -> str:
        """Return the id of its node."""
        import ray  # only where Ray runs it

        return str(ray.get_runtime_context().get_node_id())

    def compare(self, text: bytes) -> bytes:
        """Compare a bundle with its folder: ``name``, ``folder``, and ``files``, the sha256 of each key.

        Returns JSON: the keys that are ``missing``, or a sentence why it is ``refused``.
        """
        self._close_bundle()
        self._bundle = bundle = NodeBundle(**json.loads(text))
        return _answer(lambda: {"missing": bundle.missing()})

    def write(self, text: bytes, piece: Blob) -> bytes:
        """Add a piece to the file ``key`` of that bundle, the ``last`` or not; returns JSON as ``compare`` does."""
        words, bundle = json.loads(text), self._bundle
        assert bundle is not None, "compare comes first"
        return _answer(lambda: bundle.write(words["key"], piece.data, last=words["last"]))

    def _close_bundle(self) -> None:
        if self._bundle is not None:
            self._bundle.close()

    def begin(self, text: bytes) -> bool:
        """Set the model up: ``app`` and ``model``, the ``environment`` of the server, and its ``path`` to import by.

        ``bridge`` is the address of the bridge where it is of the same node, else "". Returns at once, True if it is
        connected with it; the model says how it went.
        """
        words = json.loads(text)
        self._close_bundle()
        leave_no_dump()
        keep_memory_flat()
        os.environ.update(words["environment"])
        sys.path += [path for path in words["path"] if path not in sys.path]
        logging.getLogger().setLevel(logging.INFO)
        import ray  # only where Ray runs it

        here = ray.get_runtime_context()
        for number in here.get_accelerator_ids().get("GPU", []):  # one at most; Ray shows no other
            own_device.give(f"cuda:{number}")
        near = _connected(words["bridge"]) if words["bridge"] else None
        served = near or self._channel, words["app"], words["model"]
        threading.Thread(target=self._serve, args=served, name="gateway-host").start()
        return near is not None

    def _serve(self, channel: Channel | ActorChannel, app: str, model: str) -> None:
        try:
            serve_model(channel, app, model)
        finally:
            self._channel.end()

    def tell(self, text: bytes, *blobs: Blob) -> None:
        """Take a message of the supervisor; ``sent`` in it is the time by the clock of the other machine."""
        words = json.loads(text)
        offset = time.monotonic() - words.pop("sent")
        self._channel.clock_offset = offset
        self._channel.tell(words, [each.data for each in blobs])

    def hear(self) -> Heard:
        """Wait for messages of the model; none are the last."""
        return self._channel.heard()


def _answer(work: Callable[[], Words | None]) -> bytes:
    """Return what work on a bundle returns, or why it is refused, as JSON."""
    try:
        return json.dumps(work() or {}).encode()
    except BundleRefused as error:
        return json.dumps({"refused": str(error)}).encode()


def _connected(address: str) -> Channel | None:
    """A channel to the bridge, by which bytes need no copy; None where it is out of reach."""
    try:
        return connect(address)
    except OSError:
        return None


def blob(file: AnonymousFile) -> Blob:
    """The bytes of a file without a copy."""
    size = os.fstat(file.descriptor).st_size
    if not size:
        return np.empty(0, np.uint8)
    flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
    return np.frombuffer(mmap.mmap(file.descriptor, size, flags, mmap.PROT_READ), np.uint8)
