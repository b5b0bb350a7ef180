"""The process between the supervisor and a Ray cluster: ``python -m gateway.executors.ray.bridge WORDS``.

It is the only process of a server that has Ray in it. For each replica it passes messages on: from the supervisor's
channel to an actor, and back. It ends with the supervisor, and its actors with it.
"""

import json
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from typing import Any

from gateway.config import PREFIX, Settings
from gateway.executors.forks import do_nothing
from gateway.executors.messages import Channel, Words
from gateway.executors.ray.actor_link import ActorLink
from gateway.executors.ray.bundle_sender import BundleSender
from gateway.executors.ray.cluster import CONNECT_PAUSE, LOCAL, connected
from gateway.executors.ray.demand import resources
from gateway.executors.ray.node_watch import NodeWatch, wait_until_silent
from gateway.observe import jsonlogs
from gateway.observe.places import in_one_line
from gateway.spool.anonymous_files import AnonymousFile, MemoryPool

logger = logging.getLogger("gateway.ray")

PASSED_SETTINGS = (
    *("decode_processes", "decode_memory", "decode_seconds", "decode_rate", "strict"),
    *("log_format", "log_exception_text", "wasm_memory", "wasm_output", "wasm_seconds", "wasm_module"),
)
"""Settings that a replica takes from the server; a node's own variables have the others, such as paths."""


class Bridge:
    """The bridge: each replica has two threads, one for either direction."""

    def __init__(self, channel: Channel, app: str, settings: Settings) -> None:
        self._channel = channel
        self._app = app
        self._settings = settings
        self._pool = MemoryPool(settings.spare_memory)
        self._bundles = BundleSender(settings)

    def run(self) -> None:
        """Connect, again until it succeeds; then start replicas until the supervisor is gone."""
        while not self._gone():
            try:
                with connected(self._settings) as ray:
                    logger.info("connected to the Ray cluster %s", self._settings.ray)
                    self._channel.send({"type": "connected"})
                    self._serve(ray)
            except Exception as error:
                reason = f"the Ray cluster {self._settings.ray} is not reached: {in_one_line(error)}"
                logger.error("%s", reason)
                self._refuse_replicas(reason)
                self._poll(0, CONNECT_PAUSE)  # until then, or until the supervisor is gone

    def _gone(self) -> bool:
        """Return True once the supervisor has ended, or has closed the channel."""
        return bool(self._poll(0))  # POLLHUP is always reported

    def _poll(self, events: int, seconds: float = 0.0) -> int:
        poll = select.poll()
        poll.register(self._channel, events)
        return next((found for _, found in poll.poll(seconds * 1000)), 0)

    def _refuse_replicas(self, reason: str) -> None:
        """End the replicas that wait for the cluster: the supervisor learns why, and starts them again."""
        while self._poll(select.POLLIN) & select.POLLIN and (message := self._channel.receive()):
            end = _channel_of(message[1])
            end.send({"type": "lost", "text": reason, "innocent": True})
            end.close()

    def _serve(self, ray: Any) -> None:
        """Start replicas until the supervisor is gone; end this process where the cluster is."""
        self._links = set[ActorLink]()
        threading.Thread(target=self._watch_head, args=[ray], name="gateway-head", daemon=True).start()
        watch = NodeWatch(ray)
        while message := self._channel.receive():
            words, files = message
            end = _channel_of(files)
            words["resources"] = resources(
                words["devices"], words["memory"], local=self._settings.ray == LOCAL, stated=ray.cluster_resources()
            )
            link = ActorLink(ray, end, words, watch, self._pool, self._bundles)
            self._links = {each for each in self._links if not each.ended} | {link}
            link.start(self._begin(words))
            del message, files

    def _watch_head(self, ray: Any) -> None:
        wait_until_silent(ray, self._gone)
        if not self._gone():
            logger.error("the Ray cluster %s does not answer; it is tried again", self._settings.ray)
            for link in self._links:
                link.lose("the Ray cluster does not answer")
            os._exit(1)

    def _begin(self, words: Words) -> Words:
        """What an actor needs to know before it loads its model."""
        path = [path for path in sys.path if path] if self._settings.ray == LOCAL else []
        return {"app": self._app, "model": words["model"], "environment": environment(os.environ), "path": path}


def _channel_of(files: list[AnonymousFile]) -> Channel:
    return Channel(socket.socket(fileno=os.dup(files[0].descriptor)))


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings that the work of a model needs; a cluster sees no other, since some are secrets."""
    names = {f"{PREFIX}{name.upper()}" for name in PASSED_SETTINGS}
    return {name: value for name, value in environ.items() if name in names}


def main(text: str) -> None:
    """Serve the channel that was inherited."""
    descriptor, app = json.loads(text)
    settings = Settings.from_environment()
    jsonlogs.configure(settings)
    do_nothing(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    Bridge(Channel(socket.socket(fileno=descriptor)), app, settings).run()


if __name__ == "__main__":
    main(sys.argv[1])
