"""The limit of open files of a worker: each connection is one, each large request another."""

import resource
from pathlib import Path

from gateway.doctor.diagnoses import Diagnosis, Level
from gateway.doctor.plan import Plan

BASE = 100
"""Files of a worker that serves nobody: Python's, gunicorn's, and those that libraries keep open."""
PER_THREAD = 4
"""Files of a request beside its connection: its spool, its way to a model process and back, one that a model reads."""


def open_files(plan: Plan, soft: int, hard: int, system: int | None) -> Diagnosis:
    """RLIMIT_NOFILE, ``soft`` and ``hard``, and the ``system``'s limit against what all workers may need."""
    least = BASE + PER_THREAD * plan.threads
    need = max(least, plan.settings.reserved_files) + plan.connections
    raise_it = f"Raise it to {need} or more: ulimit -n, LimitNOFILE= of systemd, --ulimit nofile= of Docker."
    text = f"{soft} for each of {plan.workers} x {plan.connections} connections"
    if soft < least:
        return Diagnosis("open files", Level.FAIL, f"{text}: too few for {plan.threads} threads.", raise_it)
    if soft < need:
        free = "It may be raised without privileges. " if hard >= need else ""
        bound = max(plan.threads, soft - plan.settings.reserved_files)
        text = f"{text}: a worker keeps {bound} at most, and closes idle ones for new ones."
        return Diagnosis("open files", Level.WARN, text, free + raise_it)
    if system is not None and system < plan.workers * need:
        remedy = f"Raise fs.file-max to {plan.workers * need} or more."
        return Diagnosis(
            "open files", Level.WARN, f"The whole system has {system}, {plan.workers * need} may be needed.", remedy
        )
    return Diagnosis("open files", Level.OK, f"{text}.")


def process_limits() -> tuple[int, int]:
    """RLIMIT_NOFILE of this process, soft and hard; no limit counts as a very large one."""
    soft, hard = (
        1 << 62 if each == resource.RLIM_INFINITY else each for each in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    return soft, hard


def system_limit(file: Path = Path("/proc/sys/fs/file-max")) -> int | None:
    """Files that all processes of the machine may have open together (proc(5)); None where it is not told."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
