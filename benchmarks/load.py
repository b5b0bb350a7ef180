"""Many clients at once."""

import threading
import time
from dataclasses import dataclass

from benchmarks import pings
from benchmarks.client import Answer, Client
from benchmarks.studies import Study

TRIES = 50


@dataclass(frozen=True)
class Load:
    """Result of a burst: seconds until the last answer, bytes received in studies, refusals with 503, pings."""

    seconds: float
    size: int
    refused: int
    pings: list[float]

    @property
    def throughput(self) -> float:
        """Return the MiB of studies answered in a second."""
        return self.size / self.seconds / (1 << 20)


def burst(port: int, study: Study, clients: int, requests: int) -> Load:
    """``clients`` at once, each ``requests`` times on fresh connections; a 503 is retried after its Retry-After."""
    callers = [_Caller(port, study, requests) for _ in range(clients)]
    with pings.during(port) as latencies:
        started = time.perf_counter()
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        seconds = time.perf_counter() - started
    for caller in callers:
        if caller.error is not None:
            raise caller.error
    refused = sum(caller.refused for caller in callers)
    return Load(seconds, study.size * clients * requests, refused, latencies)


class _Caller(threading.Thread):
    def __init__(self, port: int, study: Study, requests: int) -> None:
        super().__init__(daemon=True)
        self._client, self._study, self._requests = Client(port), study, requests
        self.refused = 0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            for _ in range(self._requests):
                self._once()
        except (OSError, ValueError) as error:
            self.error = error

    def _once(self) -> None:
        for _ in range(TRIES):
            answer = self._client.post(self._study)
            if answer.status == 200:
                return
            self._wait(answer)
        raise ValueError(f"refused {TRIES} times")

    def _wait(self, answer: Answer) -> None:
        if answer.status != 503:
            raise ValueError(f"status {answer.status}: {bytes(answer.body[:500])!r}")
        self.refused += 1
        time.sleep(float(answer.headers.get("retry-after", 1)))
