"""Devices and their memory as authors and operators write them: ``cuda``, ``cuda:0,cuda:1``, ``6 GiB``."""

import re
from collections.abc import Sequence

NAME = re.compile(r"[a-z]+(:\d+)?")
"""A kind of device, or one device of that kind by its number on the machine."""
ALONE = ("auto", "none")
"""Words that stand alone: any device where the machine has one, and no device."""
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?")
UNITS = {"": 1} | {f"{letter}{i}": (1024 if i else 1000) ** n for n, letter in enumerate("KMGT", 1) for i in ("", "i")}


def byte_count(size: str | int) -> int:
    """Return the bytes of a size: a number, or a text such as ``6 GiB``, ``512 MiB`` or ``8 GB``. Raises ValueError."""
    if isinstance(size, int):
        if size < 0:
            raise ValueError("A size of memory should be 0 bytes or more.")
        return size
    match = SIZE.fullmatch(size.strip())
    if match is None:
        raise ValueError(f"{size!r} is no size of memory; write a number and a unit, such as '6 GiB'.")
    return int(float(match[1]) * UNITS[match[2] or ""])


def device_names(devices: str | Sequence[str]) -> list[str]:
    """Return the names in a list of devices: of kinds, of single devices, or one of ``ALONE``. Raises ValueError."""
    names = devices.split(",") if isinstance(devices, str) else devices
    names = [name.strip() for name in names]
    if not names or not all(map(NAME.fullmatch, names)) or (len(names) > 1 and set(names) & set(ALONE)):
        raise ValueError(f"{','.join(names)!r} names no devices; write cuda, rocm, cuda:0,cuda:1, auto or none.")
    return names
