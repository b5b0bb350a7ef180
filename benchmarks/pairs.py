"""Measurements in turn, so that other work on the machine affects each candidate alike."""

import hashlib
import time
from collections.abc import Callable
from functools import partial
from itertools import chain, repeat
from typing import Any

from benchmarks.client import Client, Sendable
from benchmarks.models import SLICE
from benchmarks.results import Samples
from benchmarks.studies import Study, check

Work = Callable[[], float]
"""Does the work once and returns what was measured, most often seconds."""


def alternate(rounds: int, works: dict[str, Work]) -> Samples:
    """Measure A B C A B C ...: one sample of each in every round, after an uncounted first round."""
    samples: Samples = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            value = work()
            if turn:
                samples[name].append(value)
    return samples


def timed(work: Callable[[], object]) -> Work:
    """Return ``work`` as a measurement of its seconds."""

    def run() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return run


def exchange(port: int, study: Study, digest: Callable[[], Any] = hashlib.sha256) -> Work:
    """The work of sending ``study`` and receiving its answer, which is checked once beforehand."""
    client = Client(port)
    check(study, client.post(study), digest)
    return partial(seconds, client, study)


def unchecked(port: int, request: Sendable, *, keep_alive: bool = False) -> Work:
    """The same work without a check of the answer, which must be a 200."""
    return partial(seconds, Client(port, keep_alive=keep_alive), request)


def hashing(study: Study, depth: int) -> Work:
    """sha256 alone, in one thread, over the bytes of a study and of a mask of ``depth`` slices."""
    piece = study.contents[-1]
    size = depth * SLICE

    def work() -> float:
        digest = hashlib.sha256()
        started = time.perf_counter()
        for content in chain(study.contents, repeat(piece, size // len(piece))):
            digest.update(content)
        digest.hexdigest()
        return time.perf_counter() - started

    return work


def seconds(client: Client, request: Sendable) -> float:
    """Wall time of one exchange. Raises ValueError unless the answer is a 200."""
    answer = client.post(request)
    if answer.status != 200:
        raise ValueError(f"status {answer.status}: {bytes(answer.body[:500])!r}")
    return answer.seconds
