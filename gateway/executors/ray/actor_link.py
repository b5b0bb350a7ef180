"""A replica as the bridge sees it: the supervisor's channel on one side, an actor on the other.

An actor of the bridge's own node has a channel too, and gets files as a model process does. Others are called through
Ray, which carries the bytes.
"""

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.errors import Unavailable
from gateway.executors.messages import Channel, Words, accept, listen
from gateway.executors.ray.bundle_sender import BundleSender
from gateway.executors.ray.node_bundle import BundleRefused
from gateway.executors.ray.node_watch import NodeWatch
from gateway.executors.ray.replica_actor import Blob, ReplicaActor, blob
from gateway.executors.ray.replica_placement import Placement
from gateway.executors.transfer import write_error
from gateway.spool.anonymous_files import AnonymousFile, MemoryPool

logger = logging.getLogger("gateway.ray")

BULK = 64 << 10
"""Bytes from which an argument goes through the object store; Ray sends smaller ones with the call."""
FULL = "The memory of the Ray cluster for requests is full; try again."
GROUPS = {"begin": 1, "tell": 1, "hear": 1}
"""A thread of the actor for each of its methods."""


class ActorLink:
    """Starts an actor, and passes messages on in two threads until either side ends."""

    def __init__(
        self, ray: Any, channel: Channel, words: Words, watch: NodeWatch, pool: MemoryPool, bundles: BundleSender
    ) -> None:
        self._ray = ray
        self._channel = channel
        self._watch = watch
        self._pool = pool
        self._ended = self._begun = False
        self._near: Channel | None = None
        """The channel of an actor of this node."""
        self._met = threading.Event()
        """Set once it is known whether there is one."""
        self._names, self._bundles = words["bundles"], bundles
        named = type(f"Replica{words['model']}", (ReplicaActor,), {})  # as ps, the log and Ray's own tools show it
        actor = ray.remote(max_restarts=0, max_task_retries=0, concurrency_groups=GROUPS)(named)
        self._actor = actor.options(**words["resources"]).remote()
        self._placement = Placement(ray, self._actor, words["resources"], self._wait)

    @property
    def ended(self) -> bool:
        """Return True once its channel is closed."""
        return self._ended

    def start(self, words: Words) -> None:
        """Have the actor load its model once it has its place, and begin to pass messages on."""
        threading.Thread(target=self._listen, name="gateway-replica", daemon=True).start()
        threading.Thread(target=self._hear, args=[words], name="gateway-replica", daemon=True).start()

    def _call(self, method: str, words: Words | None = None, blobs: Sequence[Any] = ()) -> Any:
        arguments = [] if words is None else [json.dumps(words).encode(), *blobs]
        return getattr(self._actor, method).options(concurrency_group=method).remote(*arguments)

    def _listen(self) -> None:
        """Pass on what the supervisor says; kill the actor when it says no more."""
        while message := self._channel.receive():
            if message[0]["type"] == "stop" and not self._begun:
                break  # it has no node yet, and may never have one
            self._tell(*message)
            del message
        self._placement.give_up()
        self._ray.kill(self._actor)
        self._channel.close()

    def _tell(self, words: Words, files: list[AnonymousFile]) -> None:
        self._met.wait()
        if self._near is not None:
            with contextlib.suppress(OSError):  # its end is noticed where it is read from
                self._near.send(words, files)
            return
        try:
            self._call("tell", {**words, "sent": time.monotonic()}, [self._argument(file) for file in files])
        except (self._ray.exceptions.ObjectStoreFullError, self._ray.exceptions.OutOfDiskError):
            self._refuse(words)

    def _argument(self, file: AnonymousFile) -> Any:
        """The bytes of a file as an argument of a call: a reference to an object where they are many."""
        array = blob(file)
        return array.copy() if array.nbytes < BULK else self._ray.put(array)

    def _refuse(self, words: Words) -> None:
        for number, _ in words.get("calls", []):
            self._channel.send({"type": "outcome", "id": number}, write_error(Unavailable(FULL)))
        self._channel.send({"type": "done", "seconds": 0.0})

    def _hear(self, words: Words) -> None:
        """Pass on what the actor says, until it ends."""
        node = ""
        try:
            node = self._placement.node()
            self._watch.follow(node, self.lose)
            self._placement.provide(self._names, self._bundles)
            self._begun = True
            self._begin(words, node)
            for said, files in self._heard():
                self._channel.send(said, files)
                del said, files
        except self._ray.exceptions.RayError as error:
            # until it has begun, its model has had no part in its end
            self._end({"type": "lost", "text": _reason(error), "innocent": not self._begun})
        except BundleRefused as error:
            self._end({"type": "failed", "text": f"{error} (node {self._watch.address(node)[0]})"})
        except OSError:
            pass  # the supervisor has given it up
        finally:
            self._watch.forget(node, self.lose)
            self._channel.hang_up()
            self._met.set()
            if self._near is not None:
                self._near.close()
            self._ended = True

    def _begin(self, words: Words, node: str) -> None:
        """Have the actor load its model. One of this node connects, if its user and its network are the same."""
        if node != self._ray.get_runtime_context().get_node_id():
            self._ray.get(self._call("begin", {**words, "bridge": ""}))
        else:
            listener, address = listen()
            with listener:
                connected = self._ray.get(self._call("begin", {**words, "bridge": address}))
                while connected and self._near is None:
                    self._near = accept(listener)
        self._met.set()

    def _heard(self) -> Iterator[tuple[Words, list[AnonymousFile]]]:
        """What the actor says. Raises RayError where it does not end by itself."""
        heard = self._call("hear")
        if self._near is not None:
            heard.future().add_done_callback(lambda _: self._hang_up())  # also where a child of it has the channel
            yield from iter(self._near.receive, None)
        while messages := self._ray.get(heard):
            heard = self._call("hear")
            for text, blobs in messages:
                yield json.loads(text), [self._file(each) for each in blobs]
            del messages, text, blobs

    def _wait(self, reason: str) -> None:
        """Say what the actor waits for; "" for nothing."""
        self._channel.send({"type": "waits", "text": reason})

    def lose(self, reason: str) -> None:
        """Give the actor up: where it was is out of reach."""
        self._end({"type": "lost", "text": reason, "innocent": True})

    def _end(self, words: Words) -> None:
        with contextlib.suppress(OSError):
            self._channel.send(words)
        self._channel.hang_up()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._near is not None:
            self._near.hang_up()

    def _file(self, array: Blob) -> AnonymousFile:
        file, memory = self._pool.file(array.nbytes)
        if memory is None:
            file.write(array.data)
        else:
            memory[: array.nbytes] = array.data
        return file


def _reason(error: Exception) -> str:
    """Why an actor ended, in a sentence: Ray's own words go on with addresses and advice."""
    sentences = [line.partition(". ")[0] for line in str(error).splitlines() if line and not line.startswith("\t")]
    return f"{type(error).__name__}: {sentences[-1] if sentences else ''}"[:300]
