"""The device of this process."""

import functools
import os
import sys

from gateway.executors.found_devices import NO_DEVICE, found, offered

CPU, FIRST = "cpu", "cuda:0"
"""Names of PyTorch. A process sees its own device alone, as the first; PyTorch for ROCm calls it cuda too."""
_given: list[str] = []


def give(name: str) -> None:
    """Note the name on this machine of the device that the process was started with; ``none`` for no device."""
    _given[:] = [name]


def take_first(setting: str) -> None:
    """Show this process the first device that a setting names, before a model is imported. Raises ValueError."""
    devices = offered(setting, os.environ)
    if devices:
        os.environ.update(devices[0].environment())
        give(devices[0].name)
    elif setting == "none":
        os.environ.update(NO_DEVICE)
        give(setting)


def current_device() -> str:
    """Return the device to compute on as PyTorch names it: ``cuda:0`` or ``cpu``.

    A model process has one device at most, and sees no other. Elsewhere it is the first that this process may use.
    """
    if _given:
        return FIRST if _given[0].partition(":")[0] in ("cuda", "rocm") else CPU
    torch = sys.modules.get("torch")
    return FIRST if (torch.cuda.is_available() if torch else _has_one()) else CPU


@functools.cache
def _has_one() -> bool:
    return bool(found(os.environ))
