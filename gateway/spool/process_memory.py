"""The memory of a process: freed memory returns to the system, none is written to disk, and little is searched."""

import ctypes
import gc
import resource

MALLOPT = {"M_MMAP_THRESHOLD": (-3, 256 << 10), "M_TRIM_THRESHOLD": (-1, 1 << 20), "M_ARENA_MAX": (-8, 2)}
"""glibc's parameters (mallopt(3)) and our values. Left alone, glibc raises the first with each large block that is
freed, keeps up to 32 MiB of them in each arena, and has an arena for each thread: memory that never comes back."""


def keep_memory_flat() -> None:
    """Have large blocks given back when they are freed; does nothing where the C library is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in MALLOPT.values():
            mallopt(parameter, value)


def spare_collections() -> None:
    """Leave the objects of now out of later garbage collections. Call it once code and models are loaded.

    A full collection lets no other thread run while it visits every object: some 60,000 are code and its classes.
    """
    gc.collect()
    gc.freeze()


def leave_no_dump() -> None:
    """Have the kernel write no core file of this process and those it starts, in which a study would lie (core(5)).

    The limit is one byte and not none: by that alone Linux also spares the program that it may pipe dumps to, which
    no other limit holds for (fs/coredump.c).
    """
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (1 if hard == resource.RLIM_INFINITY else min(1, hard), hard))
