"""The devices of this machine: those of NVIDIA by nvidia-smi or the kernel, those of AMD by the kernel.

No library is loaded and no context is made on a device: a process that only asks takes none of its memory.
"""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.contract.device_options import byte_count, device_names

MIB = 1 << 20
PATIENCE = 10.0
"""Seconds for nvidia-smi, which waits for a driver that hangs."""
QUERY = ["--query-gpu=index,uuid,memory.total,mig.mode.current", "--format=csv,noheader,nounits"]
NVIDIA = Path("/proc/driver/nvidia/gpus")
AMD = Path("/sys/class/kfd/kfd/topology/nodes")
VIDEO_MEMORY = (1, 2)
"""Kinds of a memory bank that are the device's own: HSA_HEAPTYPE_FRAME_BUFFER_PUBLIC and PRIVATE (kfd_topology.h)."""
INSTANCE = re.compile(r"\s+MIG\s+(?:\d+c\.)?\d+g\.(\d+)gb\S*\s.*\(UUID:\s*(MIG-[^)]+)\)")
"""A line of ``nvidia-smi -L`` for an instance of a device that is divided."""
NOWHERE = "-1"
"""A value of the variables of visible devices that hides all: HIP takes an empty one for unset."""


@dataclass(frozen=True)
class Device:
    """A device: its ``name`` on this machine, such as cuda:1, and its memory in bytes, 0 where that is not known.

    ``visible`` is what the variables of visible devices call it: a number, a UUID, or the name of an instance (MIG).
    """

    name: str
    visible: str
    memory: int = 0

    @property
    def kind(self) -> str:
        """``cuda``, ``rocm``, or ``fake`` for one that a test names, which stands for either and computes nothing."""
        return self.name.partition(":")[0]

    def is_named(self, name: str) -> bool:
        """Return True for its own name, its kind, or ``auto``."""
        kind, _, number = name.partition(":")
        own = self.name.partition(":")[2]
        return name == "auto" or (name != "none" and self.kind in (kind, "fake") and number in ("", own))

    def environment(self) -> dict[str, str]:
        """Return the variables that show a process this device alone."""
        if self.kind == "rocm":
            return {"HIP_VISIBLE_DEVICES": self.visible, "CUDA_VISIBLE_DEVICES": self.visible}  # HIP reads either
        return {"CUDA_VISIBLE_DEVICES": self.visible, "HIP_VISIBLE_DEVICES": NOWHERE}


NO_DEVICE = {"CUDA_VISIBLE_DEVICES": NOWHERE, "HIP_VISIBLE_DEVICES": NOWHERE}
"""The variables that show a process no device."""


def offered(setting: str, environ: Mapping[str, str]) -> list[Device]:
    """Return the devices that a server may use: all for ``auto`` and "", none for ``none``, or those that it names.

    A name may state the memory to use: ``cuda:0=8GiB``. Such a device is not looked for. Raises ValueError for a name
    of none, and for a device that this machine does not have.
    """
    if setting in ("", "auto"):
        return found(environ)
    texts = [text.strip().partition("=")[::2] for text in setting.split(",")]
    names = device_names([name for name, _ in texts])
    if names == ["none"]:
        return []
    here = found(environ) if any(not memory and not name.startswith("fake:") for name, memory in texts) else []
    chosen = [device for name, memory in texts for device in _named(name.strip(), memory, here, environ)]
    return list({device.name: device for device in chosen}.values())


def _named(name: str, memory: str, here: list[Device], environ: Mapping[str, str]) -> list[Device]:
    size = byte_count(memory) if memory else 0
    known = [device for device in here if device.is_named(name)]
    if known:
        return [replace(device, memory=size or device.memory) for device in known]
    kind, _, number = name.partition(":")
    if kind == "fake" and number:
        return [Device(name, name, size)]
    if not (size and number):
        has = ", ".join(device.name for device in here) or "none"
        raise ValueError(f"This machine has no device {name}; it has {has}. Name another, or auto.")
    entries = _entries(environ.get(f"{'HIP' if kind == 'rocm' else 'CUDA'}_VISIBLE_DEVICES", ""))
    return [Device(name, entries[int(number)] if int(number) < len(entries) else number, size)]


def found(environ: Mapping[str, str], nvidia: Path = NVIDIA, amd: Path = AMD) -> list[Device]:
    """Return the devices that a process with these variables may use; what they hide stays hidden.

    ``nvidia`` and ``amd`` are the folders of the kernel's modules.
    """
    return [*_nvidia(environ, nvidia), *_amd(environ, amd)]


def _nvidia(environ: Mapping[str, str], folder: Path) -> list[Device]:
    rows = _asked(environ.get("PATH")) or _of_the_kernel(folder)
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    entries = list(rows) if visible is None else _entries(visible)
    if not rows:
        return []
    ordered = environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    return [Device(f"cuda:{n}", entry, _memory(entry, rows, ordered)) for n, entry in enumerate(entries)]


def _entries(visible: str) -> list[str]:
    """Return the devices that a variable names: CUDA ignores all from the first that is none."""
    entries = [entry.strip() for entry in visible.split(",")]
    none = next((n for n, entry in enumerate(entries) if not entry or entry.startswith("-")), len(entries))
    return entries[:none]


def _memory(entry: str, rows: Mapping[str, int], ordered: bool) -> int:
    """Return the memory of a device by its UUID, which may be cut short, or its number.

    CUDA's own order may differ from nvidia-smi's: a number then means the least of all.
    """
    sizes = list(rows.values())
    if entry.isdecimal():
        return sizes[int(entry)] if ordered and int(entry) < len(sizes) else min(sizes)
    return next((size for uuid, size in rows.items() if uuid.startswith(entry)), 0)


def _asked(path: str | None) -> dict[str, int]:
    """Return memory by UUID of each device, in the order of the bus, and of each instance of one that is divided."""
    rows: dict[str, int] = {}
    divided = False
    for line in _smi(path, *QUERY).splitlines():
        index, uuid, memory, mig = ([field.strip() for field in line.split(",")] + [""] * 4)[:4]
        if not index.isdecimal():
            continue
        divided = divided or mig == "Enabled"
        if mig != "Enabled":
            rows[uuid] = int(memory) * MIB if memory.isdecimal() else 0
    return rows | (instances(_smi(path, "-L")) if divided else {})


def instances(listing: str) -> dict[str, int]:
    """Return memory by UUID of the instances in the output of ``nvidia-smi -L``; 1g.10gb has about 10 GB."""
    return {match[2]: int(match[1]) * 10**9 for match in map(INSTANCE.match, listing.splitlines()) if match}


def _smi(path: str | None, *arguments: str) -> str:
    program = shutil.which("nvidia-smi", path=path)
    if program is None:
        return ""
    try:
        ran = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout if ran.returncode == 0 else ""


def _of_the_kernel(folder: Path) -> dict[str, int]:
    """Return the UUIDs that NVIDIA's kernel module knows, in the order of the bus; their memory it does not tell."""
    texts = [_text(file) for file in sorted(folder.glob("*/information"))]
    return {match[1]: 0 for text in texts if (match := re.search(r"GPU UUID:\s*(GPU-\S+)", text))}


def _amd(environ: Mapping[str, str], folder: Path) -> list[Device]:
    nodes = sorted(folder.glob("*"), key=lambda node: int(node.name) if node.name.isdecimal() else 0)
    sizes = [_video_memory(node) for node in nodes if _properties(node / "properties").get("simd_count", 0)]
    rocr = environ.get("ROCR_VISIBLE_DEVICES")  # it comes first, and HIP numbers what it leaves
    if rocr is not None and sizes:
        sizes = [sizes[int(one)] if one.isdecimal() and int(one) < len(sizes) else min(sizes) for one in _entries(rocr)]
    visible = environ.get("HIP_VISIBLE_DEVICES", environ.get("CUDA_VISIBLE_DEVICES"))
    entries = [str(n) for n in range(len(sizes))] if visible is None else _entries(visible)
    numbered = [entry for entry in entries if entry.isdecimal() and int(entry) < len(sizes)]
    return [Device(f"rocm:{n}", entry, sizes[int(entry)]) for n, entry in enumerate(numbered)]


def _video_memory(node: Path) -> int:
    banks = [_properties(file) for file in node.glob("mem_banks/*/properties")]
    return sum(bank.get("size_in_bytes", 0) for bank in banks if bank.get("heap_type") in VIDEO_MEMORY)


def _properties(file: Path) -> dict[str, int]:
    pairs = [line.split() for line in _text(file).splitlines()]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
