"""Which device each model process gets: by declared memory, and evenly. No device and no process in it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

STEPS = 10_000
"""Places that are tried, at most; a server has a few dozen processes, and almost always the first try fits."""


@dataclass(frozen=True)
class Demand:
    """A model's ``count`` processes, each with ``memory`` bytes of one of these ``devices``."""

    model: str
    count: int
    memory: int
    devices: tuple[str, ...]


class DoesNotFit(ValueError):
    """Demands for which there is no place."""


def pack(demands: Sequence[Demand], capacity: Mapping[str, float]) -> dict[str, list[str]]:
    """Return the device of each process, by model; ``capacity`` has the bytes of each device.

    The largest are placed first, each where the fewest processes are, and of those where the most is free. Where that
    ends without a place, others are tried. Raises DoesNotFit.
    """
    ordered = sorted(demands, key=lambda demand: (-demand.memory, len(demand.devices)))
    processes = [demand for demand in ordered for _ in range(demand.count)]
    chosen: list[str] = []
    free, users = dict(capacity), Counter[str]()
    tried = [_places(processes[0], free, users)] if processes else []
    for _ in range(STEPS):
        if len(chosen) == len(processes):
            return _by_model(processes, chosen)
        device = next(tried[-1], None)
        if device is not None:
            free[device] -= processes[len(chosen)].memory
            users[device] += 1
            chosen.append(device)
            if len(chosen) < len(processes):
                tried.append(_places(processes[len(chosen)], free, users))
            continue
        tried.pop()
        if not chosen:
            break
        device = chosen.pop()
        free[device] += processes[len(chosen)].memory
        users[device] -= 1
    raise DoesNotFit


def _places(demand: Demand, free: Mapping[str, float], users: Mapping[str, int]) -> Iterator[str]:
    """The devices that have room, the best first."""
    room = [device for device in demand.devices if free[device] >= demand.memory]
    return iter(sorted(room, key=lambda device: (users[device], -free[device])))


def _by_model(processes: Sequence[Demand], chosen: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for demand, device in zip(processes, chosen, strict=True):
        found.setdefault(demand.model, []).append(device)
    return found
