"""Admission: limits on requests in flight, on their bytes, and on what the spool folder can hold.

What cannot be served is refused before its body is read, at the price of its head.
"""

import math
import os
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sized
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from queue import SimpleQueue

from gateway.config import GiB, KiB, Settings
from gateway.errors import DeadlineExceeded, StorageFull, Unavailable
from gateway.spool.disk import on_disk

RETRY_AFTER = 2
"""Seconds a refused client is told to wait: about the time in which a study of 100 MiB comes in and is answered."""
LOOK = 1.0
"""Seconds between two looks at the clock of a request that waits for a place."""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
BULK = 64 * KiB
"""Pieces from here on take turns; below, a turn costs more than the work."""


DECODED_FREE = 1 * GiB
"""Bytes that the files of any request may unfold to: masks of 512 x 512 x 1,000 pack 1,000 : 1."""
DECODED_RATIO = 100
"""Further bytes for each byte of a request; a CT series takes two as float32, and six from JPEG 2000."""


def decoded_bytes(settings: Settings, size: int) -> int:
    """Return the bytes that the files of a request of ``size`` bytes may unfold to."""
    return min(settings.max_decoded_bytes, DECODED_FREE + DECODED_RATIO * size)


class Admission:
    """The bounds of one process, shared by all its requests."""

    def __init__(self, settings: Settings) -> None:
        self.max_requests: int | None = None
        """Requests past this point at once; the worker sets it to its threads less a reserve for the probes."""
        self._budget = settings.max_bytes_in_flight
        self._threshold = settings.spool_threshold
        self._folder = settings.spool_folder or Path(tempfile.gettempdir())
        self._lock = threading.Lock()
        self._free = threading.Condition(self._lock)
        self._returning: deque[Ticket] = deque()
        self.bulk = Turns(max(1, CORES // 2))
        """Turns at decoding and hashing large pieces: more at once than cores only makes a probe wait for them all."""
        self.requests = 0
        self.bytes = 0

    def enter(self, retry_after: int = RETRY_AFTER, *, abandoned: int = 0) -> "Ticket":
        """Let a request in. Raises Unavailable, for about ``retry_after`` seconds, when as many as allowed are in.

        Work that was ``abandoned`` by its requests but goes on counts as they did.
        """
        with self._lock:
            if self._is_full(self.returning + abandoned):
                raise Unavailable("All places of this worker are taken; try again.", retry_after=retry_after)
            self.requests += 1
        return Ticket(self)

    @property
    def returning(self) -> int:
        """Requests that have lent their places and wait for one."""
        return len(self._returning)

    def _is_full(self, more: int = 0) -> bool:
        return self.max_requests is not None and self.requests + more >= self.max_requests

    def lend(self) -> None:
        """Give the place of a request to another, which waits for its client."""
        with self._free:
            self.requests -= 1
            self._free.notify_all()

    def reclaim(self, ticket: "Ticket", deadline: float) -> None:
        """Wait for a place until ``deadline``; those that lent one go before new requests. Raises DeadlineExceeded."""
        with self._free:
            self._returning.append(ticket)
            try:
                while self._returning[0] is not ticket or self._is_full():
                    if time.monotonic() >= deadline:
                        raise DeadlineExceeded("No place was free before the deadline of the request.")
                    self._free.wait(min(LOOK, max(0.0, deadline - time.monotonic())))
                self.requests += 1
            finally:
                self._returning.remove(ticket)
                self._free.notify_all()

    @property
    def idle_core(self) -> bool:
        """Return True if a second core is likely to be free for this request's digest."""
        return 2 * self.requests <= CORES

    def reserve(self, count: int, *, spooled: bool) -> None:
        """Set bytes aside. Raises Unavailable where the budget has too few left, and StorageFull where the disk has."""
        if spooled and count > self._free_on_disk():
            raise StorageFull("The gateway has no room for this study now; try again later.", private="spool: ENOSPC")
        with self._lock:
            if self.bytes + count > self._budget:
                raise Unavailable("Other studies fill the gateway; try again.", retry_after=RETRY_AFTER)
            self.bytes += count

    def _free_on_disk(self) -> int:
        with on_disk("spool"):
            return shutil.disk_usage(self._folder).free

    def leave(self, count: int, *, lent: bool = False) -> None:
        """A request has gone, with the bytes it held, and with its place where that was not ``lent``."""
        with self._lock:
            self.requests -= not lent
            self.bytes -= count
            if self._returning:
                self._free.notify_all()


class Turns:
    """A semaphore whose turns are passed on in C, since Python's own waits for its lock."""

    def __init__(self, count: int) -> None:
        self._free = SimpleQueue[None]()
        for _ in range(count):
            self._free.put(None)

    def __enter__(self) -> None:
        self._free.get()

    def __exit__(self, *_: object) -> None:
        self._free.put(None)


class Ticket:
    """The slot and the bytes of one request."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._reserved = 0
        self._used = 0
        self._lent = False
        self._left = False

    def expect(self, count: int) -> None:
        """Reserve bytes that are announced (Content-Length)."""
        self._admission.reserve(count, spooled=self._reserved + count > self._admission._threshold)
        self._reserved += count

    def receive(self, count: int) -> None:
        """Count received bytes; those that were not announced are reserved now."""
        self._used += count
        if self._used > self._reserved:
            self.expect(self._used - self._reserved)

    def lend(self) -> None:
        """Let another request have the place while this one waits for a slow client; its bytes stay set aside."""
        if not (self._lent or self._left):
            self._lent = True
            self._admission.lend()

    def reclaim(self, deadline: float = math.inf) -> None:
        """Have the place again, where it was lent: wait for one. Raises DeadlineExceeded."""
        if self._lent:
            self._admission.reclaim(self, deadline)
            self._lent = False

    def turn(self, piece: Sized) -> AbstractContextManager[object]:
        """Return the turn to work on a piece of a body, which all requests share; a small one needs none."""
        return nullcontext() if len(piece) < BULK else self._admission.bulk

    @property
    def idle_core(self) -> bool:
        """Whether a second core is likely to be free for this request."""
        return self._admission.idle_core

    def leave(self) -> None:
        """Give place and bytes back; once is enough."""
        if not self._left:
            self._left = True
            self._admission.leave(self._reserved, lent=self._lent)
