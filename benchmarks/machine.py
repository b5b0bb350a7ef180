"""Description of the machine that the figures were measured on."""

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path


def describe() -> dict[str, str | int | bool]:
    """Return processor, cores, memory, kernel and versions; nothing identifies the machine."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.+)", cpuinfo)
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory[1]) / (1 << 20)) if memory else 0,
        "sha_instructions": "sha_ni" in cpuinfo and not masked(),
        "sha_instructions_masked": masked(),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "gunicorn": version("gunicorn"),
        "flask": version("Flask"),
        "load_at_start": f"{os.getloadavg()[0]:.1f}",
    }


CAPABILITIES = "OPENSSL_ia32cap"
MASK = ":~0x20000000"
"""Bit 29 of the second word: SHA extensions (OPENSSL_ia32cap(3))."""


def masked() -> bool:
    """Return True if SHA instructions are hidden from OpenSSL, as on processors without them."""
    return os.environ.get(CAPABILITIES) == MASK
