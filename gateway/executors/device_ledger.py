"""Which model process of a server has which device, over all of its models."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.contract.execution import Execution
from gateway.executors.found_devices import NO_DEVICE, Device
from gateway.executors.packing import Demand, DoesNotFit, pack

GIB = 1 << 30
NONE = "none"


@dataclass(frozen=True)
class Assignment:
    """The device of a process, by its name; "" where it sees all, ``NONE`` where it sees none.

    ``environment`` has the variables that make it so, and ``memory`` the bytes that the process has declared.
    """

    device: str = ""
    memory: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Holder:
    generation: int
    device: str
    memory: int


class DeviceLedger:
    """The devices of a server: planned for all processes together, and booked while a process lives.

    ``look`` finds the devices, when the first model is to be placed; it raises ValueError for a setting that names none
    of this machine.
    """

    def __init__(self, setting: str, look: Callable[[], list[Device]]) -> None:
        self._setting = setting
        self._look = look
        self._devices: dict[str, Device] | None = None
        self._planned: dict[str, list[str]] = {}
        self._memory: dict[str, int] = {}
        self._holders: dict[tuple[str, int], _Holder] = {}

    @property
    def planned(self) -> Mapping[str, Sequence[str]]:
        """The device of each process, by model; a model that is not placed is absent."""
        return self._planned

    def plan(self, models: Mapping[str, Execution]) -> dict[str, str]:
        """Choose a device for each process of these models, whose ``processes`` are known.

        Returns a sentence for each that cannot be placed, and keeps the former plan then; {} where all are.
        """
        placed = {name: one for name, one in models.items() if self._is_placed(one)}
        try:
            self._plan(placed)
        except ValueError as error:
            return dict.fromkeys(placed, str(error))
        return {}

    def _plan(self, placed: Mapping[str, Execution]) -> None:
        if placed and self._devices is None:
            self._devices = {device.name: device for device in self._look()}
        demands = [self._demand(name, execution) for name, execution in placed.items()]
        capacity = {name: device.memory or math.inf for name, device in (self._devices or {}).items()}
        try:
            chosen = pack([demand for demand in demands if demand.devices], capacity)
        except DoesNotFit:
            raise ValueError(_too_large(demands, capacity)) from None
        hidden = {
            name: [NONE] * (execution.processes or 0)
            for name, execution in placed.items()
            if name not in chosen and NONE in (self._setting, *execution.device_names)
        }
        self._planned = chosen | hidden
        self._memory = {demand.model: demand.memory for demand in demands}

    def _is_placed(self, execution: Execution) -> bool:
        """Return False for a model whose processes see what the server sees: it declares nothing, nor is it set."""
        return bool(self._setting or execution.uses_devices)

    def _demand(self, name: str, execution: Execution) -> Demand:
        named = execution.device_names or ["auto"]
        here = [device.name for device in (self._devices or {}).values() if any(map(device.is_named, named))]
        if not here and not {"auto", NONE} & set(named):
            has = ", ".join(self._devices or ()) or "none"
            raise ValueError(
                f"The model on {name} needs the device {' or '.join(named)}; this server has {has}."
                " See --devices (GATEWAY_DEVICES), or declare auto."
            )
        return Demand(name, execution.processes or 0, execution.device_bytes if here else 0, tuple(here))

    def take(self, model: str, number: int, generation: int) -> Assignment | None:
        """Book a device for a process that is about to start; None where there is no room for it now.

        A process that is replaced leaves its device to the next. Beside a process of the former generation, one of the
        new needs room for both.
        """
        planned = self._planned.get(model)
        if planned is None:
            return Assignment()
        memory = self._memory[model]
        held = Counter(
            holder.device
            for (name, _), holder in self._holders.items()
            if (name, holder.generation) == (model, generation)
        )
        free = [device for device in dict.fromkeys(planned) if planned.count(device) > held[device]]
        device = next((device for device in free if self._has_room(device, memory)), None)
        if device is None:
            return None
        self._holders[model, number] = _Holder(generation, device, memory)
        known = (self._devices or {}).get(device)
        return Assignment(device, memory, known.environment() if known else NO_DEVICE)

    def _has_room(self, device: str, memory: int) -> bool:
        capacity = self._devices[device].memory if self._devices and device in self._devices else 0
        used = sum(holder.memory for holder in self._holders.values() if holder.device == device)
        return not capacity or used + memory <= capacity

    def release(self, model: str, number: int) -> None:
        """A process has ended, and its device's memory is free."""
        self._holders.pop((model, number), None)


def _too_large(demands: Sequence[Demand], capacity: Mapping[str, float]) -> str:
    wanted = ", ".join(f"{one.model} {one.count} x {_size(one.memory)}" for one in demands if one.memory)
    room = ", ".join(f"{name} {_size(size)}" for name, size in capacity.items())
    return (
        f"The model processes do not fit the memory of the devices: they declare {wanted}; there are {room}."
        " Declare fewer processes or less memory, or give the server more devices."
    )


def _size(count: float) -> str:
    return f"{count / GIB:.3g} GiB" if math.isfinite(count) else "of unknown memory"
