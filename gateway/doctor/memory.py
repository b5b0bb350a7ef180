"""Memory: what a container may take against what requests may hold, and the shared memory beside it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from gateway.config import MiB
from gateway.doctor.diagnoses import Diagnosis, Level, in_words
from gateway.doctor.plan import Plan

WORKER_BYTES = 128 * MiB
"""A worker that has loaded the gateway and serves nobody, with some room; a model comes on top."""
DOCKER_SHARED = 64 * MiB
"""What Docker gives to /dev/shm unless told otherwise."""
SHARED = Path("/dev/shm")


def memory(plan: Plan, total: int, limit: int | None, *, spool_in_memory: bool) -> Diagnosis:
    """``total`` bytes of the machine, or the ``limit`` of its cgroup, against what requests in work may hold.

    A spool folder in memory counts too. Models and answers come on top, which nobody knows beforehand.
    """
    settings, room = plan.settings, min(total, limit or total)
    in_flight = settings.max_bytes_in_flight
    if not spool_in_memory:
        in_flight = min(in_flight, plan.places * settings.spool_threshold)
    need = plan.workers * (WORKER_BYTES + in_flight)
    room_text = f"{in_words(room)} {'in this cgroup' if room < total else 'in this machine'}"
    if room < plan.workers * WORKER_BYTES:
        return Diagnosis(
            "memory", Level.FAIL, f"{room_text}: too little for {plan.workers} workers.", "Give it more memory."
        )
    if room < need:
        where = "GATEWAY_MAX_BYTES_IN_FLIGHT" if spool_in_memory else "GATEWAY_SPOOL_THRESHOLD"
        remedy = f"Lower {where} or the workers, or give it more memory."
        return Diagnosis("memory", Level.WARN, f"{room_text}: requests alone may hold {in_words(need)}.", remedy)
    return Diagnosis("memory", Level.OK, f"{room_text}, up to {in_words(need)} for requests.")


def shared_memory(folder: Path, model_processes: int) -> Diagnosis:
    """/dev/shm for gunicorn's signs of life, and memfd_create(2), by which requests cross to model processes."""
    if refusal := memfd_refusal():
        level = Level.FAIL if model_processes else Level.WARN
        return Diagnosis(
            "shared memory", level, f"memfd_create does not work: {refusal}.", "Set GATEWAY_MODEL_PROCESSES=0."
        )
    if not folder.is_dir():
        remedy = "Mount a tmpfs on it."
        return Diagnosis("shared memory", Level.WARN, f"There is no {folder}: a slow disk may kill workers.", remedy)
    size, _, free = shutil.disk_usage(folder)
    text = f"{in_words(free)} free in {folder}, memfd_create works"
    if free < MiB:
        return Diagnosis("shared memory", Level.FAIL, f"{text}: it is full.", "Remove what fills it.")
    if size <= DOCKER_SHARED:
        remedy = "Where a model shares arrays among processes, as PyTorch's loaders do: --shm-size of Docker."
        return Diagnosis("shared memory", Level.NOTE, f"{text}; all of it is {in_words(size)}.", remedy)
    return Diagnosis("shared memory", Level.OK, f"{text}.")


def memfd_refusal() -> str:
    """Return why a file in memory cannot be made, written and mapped; "" where it can."""
    try:
        descriptor = os.memfd_create("gateway-doctor")
    except AttributeError:
        return "this system has none"
    except OSError as error:
        return os.strerror(error.errno or 0)
    try:
        os.ftruncate(descriptor, MiB)
        os.pwrite(descriptor, b"doctor", MiB - 6)
    except OSError as error:
        return os.strerror(error.errno or 0)
    finally:
        os.close(descriptor)
    return ""


def machine_bytes() -> int:
    """The memory of the machine, whatever part of it this process may take."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def cgroup_limit(own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The least memory limit of this process's cgroup and those above it (cgroups(7)), v1 or v2; None without one."""
    return min((limit for file in _limit_files(own, root) if (limit := _limit(file)) is not None), default=None)


def _limit_files(own: Path, root: Path) -> Iterator[Path]:
    for line in _text(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        mount, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        inside = Path(path.lstrip("/"))
        yield from (mount / folder / name for folder in (inside, *inside.parents))


def _limit(file: Path) -> int | None:
    text = _text(file).strip()
    return int(text) if text.isdecimal() else None  # "max" is none


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
