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
import time
from collections.abc import Mapping
from typing import Any

from gateway.config import PREFIX, Settings
from gateway.executors.forks import do_nothing
from gateway.executors.messages import Channel, Words
from gateway.executors.ray.actor_link import ActorLink
from gateway.executors.ray.cluster import CONNECT_PAUSE, LOCAL, connected
from gateway.observe import jsonlogs
from gateway.observe.places import in_one_line
from gateway.spool.anonymous_files import MemoryPool

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

    def run(self) -> None:
        """Connect, again until it succeeds; then start replicas until the supervisor is gone."""
        while not self._gone():
            try:
                with connected(self._settings) as ray:
                    logger.info("connected to the Ray cluster %s", self._settings.ray)
                    self._serve(ray)
            except Exception as error:
                logger.error("the Ray cluster %s is not reached: %s", self._settings.ray, in_one_line(error))
                time.sleep(CONNECT_PAUSE)

    def _gone(self) -> bool:
        """Return True once the supervisor has ended, or has closed the channel."""
        poll = select.poll()
        poll.register(self._channel, 0)
        return bool(poll.poll(0))  # POLLHUP is always reported

    def _serve(self, ray: Any) -> None:
        links = []
        while message := self._channel.receive():
            words, files = message
            end = Channel(socket.socket(fileno=os.dup(files[0].descriptor)))
            link = ActorLink(ray, end, words["model"], words["options"], self._pool)
            links.append(link)
            link.start(self._begin(words))
            del message, files
        for link in links:
            link.end()

    def _begin(self, words: Words) -> Words:
        """What an actor needs to know before it loads its model."""
        path = [path for path in sys.path if path] if self._settings.ray == LOCAL else []
        return {"app": self._app, "model": words["model"], "environment": environment(os.environ), "path": path}


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
