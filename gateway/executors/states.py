"""The health of a model on this server: its state, why, and how many requests wait and run."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from gateway.contract.execution import HealthState
from gateway.errors import Unavailable

_FROM_BEST_TO_WORST = list(HealthState)


@dataclass(frozen=True)
class DeviceUse:
    """Processes of a model on one device, and the bytes of its memory that they have declared together."""

    processes: int = 0
    memory: int = 0


@dataclass(frozen=True, kw_only=True)
class ModelHealth:
    """The health of one model: its state, and the reason where it is not ready.

    ``queued`` and ``running`` count requests, ``places`` how many run at once (0: no bound), ``restarts`` those of its
    processes since the server started, ``service_seconds`` its usual time for one run, ``rest_seconds`` the time until
    a model that failed is tried again, ``devices`` those of its processes that answer, by name.
    """

    state: HealthState
    reason: str = ""
    queued: int = 0
    running: int = 0
    places: int = 0
    restarts: int = 0
    service_seconds: float = 0.0
    rest_seconds: int = 0
    devices: Mapping[str, DeviceUse] = field(default_factory=dict)

    @property
    def retry_after(self) -> int:
        """Whole seconds until it is tried again where it failed, or a place in its queue is likely to come free."""
        return self.rest_seconds or max(1, math.ceil(self.service_seconds * max(1, self.queued // (self.places or 1))))

    @property
    def serves(self) -> bool:
        """Return True if the model answers, even if its queue is full."""
        return self.state in (HealthState.READY, HealthState.BUSY)

    def words(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    @classmethod
    def of(cls, words: Mapping[str, Any]) -> Self:
        """From the JSON of ``words``."""
        devices = {name: DeviceUse(**use) for name, use in words["devices"].items()}
        return cls(**{**words, "state": HealthState(words["state"]), "devices": devices})


def full(retry_after: int) -> Unavailable:
    """Return the error of a caller that finds the queue of a model full."""
    return Unavailable("This model's queue is full; try again.", retry_after=retry_after)


def resting(reason: str, retry_after: int) -> Unavailable:
    """Return the error of a caller of a failed model; its reason may name files of this machine, and is logged only."""
    return Unavailable("This model does not answer now; /readyz says why.", retry_after=retry_after, private=reason)


def at_work(known: tuple[HealthState, str], *, hung: int, lost: bool = False, full: bool) -> tuple[HealthState, str]:
    """Return the state and the reason of a model in view of its calls, where it would be ready but for them.

    ``hung`` of them run past deadline and grace, ``lost`` says that they have every place, ``full`` that its line is.
    """
    if known[0] is not HealthState.READY:
        return known
    if hung:
        state = HealthState.FAILED if lost else HealthState.DEGRADED
        return state, f"{hung} of its calls hang, past deadline and grace"
    return (HealthState.BUSY, "its queue is full") if full else known


def worst(states: Iterable[HealthState]) -> HealthState:
    """The state to speak of first; ready where there is none."""
    return max(states, key=_FROM_BEST_TO_WORST.index, default=HealthState.READY)
