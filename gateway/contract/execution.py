"""Execution of models: the context of one request in flight, and the options that an author declares."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gateway.contract.device_options import byte_count, device_names
from gateway.errors import LimitExceeded, RunRequired

if TYPE_CHECKING:
    import numpy as np

    from gateway.contract.requests import EncodedAnswer

MAX_BATCH = 100
"""Requests in a batch: each crosses to a model process as two descriptors, of which Linux takes 253 at once."""


MAX_PREVIEWS = 100
"""Previews of one request that its caller is shown: more than a person looks at."""


class HealthState(StrEnum):
    """The state of a model, as probes, metrics and the doctor say it; from the best to the worst.

    - ready: it answers
    - busy: it answers, but all its places and its queue are taken: the next request is refused
    - degraded: it answers, but one of its processes died, or a call of it hangs
    - starting: its setup or its warm-up is not finished
    - failed: it does not answer, and does not recover by itself soon
    """

    READY = "ready"
    BUSY = "busy"
    DEGRADED = "degraded"
    STARTING = "starting"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Card:
    """The identity of the model that answered, in names and sha256 digests; "" where there is none."""

    name: str = ""
    version: str = ""
    model_digest: str = ""
    weights_digest: str = ""
    parameters_digest: str = ""
    deterministic: bool = False


class RequestContext:
    """A request in flight: its deadline, its cancellation, its progress.

    ``deadline`` is in seconds of ``time.monotonic``, which all processes of a machine share.
    """

    def __init__(self, deadline: float = math.inf) -> None:
        self.deadline = deadline
        self.done: tuple[float, float, str] = (0, 0, "")
        self.began: float | None = None
        """When the model was given it, on the same clock; None in line, and where another process has not said yet."""
        self.waited = 0.0
        """Seconds of waiting for the caller's input, which count to neither the deadline nor the model's time."""
        self.spent: dict[str, float] = {}
        """Seconds by phase, of those that only the model's side can tell from its own work."""
        self.max_decoded: float = math.inf
        """Bytes that the request's files may unfold to."""
        self._decoded = self._previews = 0
        self._lock, self._asking = threading.Lock(), threading.Lock()
        self._cancelled = False

    def reserve(self, count: int) -> None:
        """Count bytes of memory that are about to be made from the request's files.

        Raises LimitExceeded (``max_decoded_bytes``).
        """
        with self._lock:
            self._decoded += count
            if self._decoded > self.max_decoded:
                most = int(self.max_decoded)
                raise LimitExceeded("max_decoded_bytes", most, what="What the files of the request unfold to")

    @property
    def decoded(self) -> int:
        """Bytes that were made from the request's files in this process."""
        return self._decoded

    def renew(self, seconds: float) -> None:
        """Give the model ``seconds`` from now on."""
        self.deadline = time.monotonic() + seconds

    def restart(self, seconds: float) -> None:
        """Begin another call of the model: it has ``seconds`` from now on, and decodes the files again."""
        self.renew(seconds)
        self.done, self.began = (0, 0, ""), None
        self.waited, self._decoded = 0.0, 0

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        self._cancelled = True

    def cancelled(self) -> bool:
        """Return True once the answer is not wanted: the client has disconnected, or the deadline has passed."""
        return self._cancelled or time.monotonic() >= self.deadline

    def progress(self, done: float, total: float, text: str = "") -> None:
        """Note how far the work has come: ``done`` of ``total``, in any unit."""
        self.done = (done, total, text)

    def log(self, text: str) -> None:
        """Send a line to the caller of a run. Other requests have no place for it; it never enters the server's log."""

    def shows_previews(self) -> bool:
        """Count a preview; return True for the first ``MAX_PREVIEWS``."""
        self._previews += 1
        return self._previews <= MAX_PREVIEWS

    def preview(self, picture: bytes, text: str = "") -> None:
        """Show the caller of a run a picture, as PNG. Other requests have no place for it."""

    def ask(self, question: dict[str, Any], shown: "EncodedAnswer | None" = None) -> dict[str, Any]:
        """Ask the caller of a run, and wait for its input; both are JSON. ``shown`` is the answer so far.

        Raises Cancelled once the answer is not wanted, and RunRequired where the request is not a run.
        """
        raise RunRequired("This model asks its caller while it works; submit the request as a run, or open a session.")

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for the caller's input, one thread at a time: the deadline moves by the time of the block."""
        with self._asking:
            since, deadline = time.monotonic(), self.deadline
            self.deadline = math.inf
            try:
                yield
            finally:
                waited = time.monotonic() - since
                self.waited, self.deadline = self.waited + waited, deadline + waited

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        """Count the time of a block for a phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.spent[phase] = self.spent.get(phase, 0.0) + time.perf_counter() - started

    def empty(self, shape: Sequence[int], dtype: Any) -> "np.ndarray[Any, Any]":
        """An array to write an answer into, from where the executor can send it without a copy."""
        import numpy

        return numpy.empty(shape, dtype)


@dataclass(frozen=True)
class Batch:
    """Options of answering several requests in one call.

    ``max_size`` is the most at once; the first waits ``max_wait_ms`` milliseconds for others. Requests of different
    parameters are kept apart unless ``mix_parameters``, which gives the model a list of each parameter too.
    """

    max_size: int
    max_wait_ms: float = 5.0
    mix_parameters: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for what is no batch."""
        if not (1 <= self.max_size <= MAX_BATCH and self.max_wait_ms >= 0):
            raise ValueError(f"Batch: max_size should be 1 to {MAX_BATCH} and max_wait_ms 0 or more.")


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Execution options of a model; those unset are taken from the settings.

    ``processes`` of its own (0: inside the HTTP workers), in a Ray cluster up to ``max_processes`` while calls are
    pending, ``concurrency`` requests at once inside a worker,
    ``max_queue`` requests waiting, ``timeout`` seconds at most for a request, ``batch`` where it takes several at once.
    ``warm_up`` false spares it the phantom study at start; a function is called with the model's ``predict`` instead.
    ``devices`` that its processes may use, one for each: a kind (``cuda``, ``rocm``), names (``cuda:0,cuda:1``),
    ``auto`` (one where there is any) or ``none``. ``memory`` is what one process takes of it, such as ``6 GiB``.
    """

    processes: int | None = None
    max_processes: int | None = None
    concurrency: int | None = None
    max_queue: int | None = None
    timeout: float | None = None
    batch: Batch | None = None
    warm_up: bool | Callable[..., Any] = True
    devices: str | Sequence[str] | None = None
    memory: str | int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for names of no devices, or a size that is none."""
        if self.devices is not None:
            device_names(self.devices)
        byte_count(self.memory or 0)

    @property
    def device_names(self) -> list[str]:
        """The names of ``devices``; none where they are not declared."""
        return [] if self.devices is None else device_names(self.devices)

    @property
    def uses_devices(self) -> bool:
        """True where it declares devices, or memory of one."""
        return bool(self.devices or self.device_bytes)

    @property
    def device_bytes(self) -> int:
        """The bytes of ``memory``; 0 where they are not declared."""
        return byte_count(self.memory or 0)

    @property
    def device_sentence(self) -> str:
        """What one of its processes takes, for a person; "" where it declares no device and no memory of one."""
        if not self.uses_devices or self.device_names == ["none"]:
            return ""
        of = f", and {self.device_bytes / (1 << 30):.3g} GiB of its memory" if self.device_bytes else ""
        return f"Each process of the model takes one device ({', '.join(self.device_names) or 'auto'}){of}."
