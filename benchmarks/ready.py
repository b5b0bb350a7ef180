"""Readiness of servers, polled from /readyz as a load balancer does."""

import contextlib
import http.client
import itertools
import json
import threading
import time
from typing import Any

PROBE_SECONDS = 0.1


def health(port: int) -> dict[str, Any]:
    """Return the JSON of /readyz with the status under ``code``, 0 where nothing answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        connection.request("GET", "/readyz", headers={"Connection": "close"})
        answer = connection.getresponse()
        return {"code": answer.status, **json.loads(answer.read())}
    return {"code": 0}


def wait(port: int, seconds: float = 60.0) -> float:
    """Wait until the server is ready and return the seconds that took. Raises TimeoutError."""
    started = time.monotonic()
    while health(port)["code"] != 200:
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"not ready after {seconds} s: {health(port)}")
        time.sleep(0.02)
    return time.monotonic() - started


class Ports:
    """The ports to send to, in turn; with ``probed``, only those that reported that they are ready."""

    def __init__(self, ports: list[int], *, probed: bool) -> None:
        self._ports = ports
        self._turn = itertools.cycle(ports)
        self._down: set[int] = set()
        if probed:
            threading.Thread(target=self._probe, daemon=True).start()

    def next(self) -> int:
        """Return the next ready port, or the next in turn where no server is ready."""
        ready = (port for port in itertools.islice(self._turn, len(self._ports)) if port not in self._down)
        return next(ready, self._ports[0])

    def _probe(self) -> None:
        while True:
            for port in self._ports:
                (self._down.discard if health(port)["code"] == 200 else self._down.add)(port)
            time.sleep(PROBE_SECONDS)
