"""Checks of the clocks: the wall clock of certificates, tokens and audits, the monotonic one of deadlines."""

import ctypes
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from gateway.doctor.diagnoses import Diagnosis, Level

YEARS = range(2026, 2100)
"""Years from the first release; a machine without a clock battery starts in 1970 or 2000."""
TIMEX_BYTES = 512
"""Larger than ``struct timex`` of any Linux (208 bytes on 64 bits)."""
STA_UNSYNC = 0x0040
TIME_ERROR = 5
"""Returned by adjtimex(2), with this bit of the status, while no source synchronises the clock."""


def clock(now: datetime, ticks: Sequence[int], synchronised: bool | None) -> Diagnosis:
    """Check that the year is plausible, that ``ticks`` of the monotonic clock in ns advance, and that the clock is
    synchronised.
    """
    set_it = "Set the clock, and run chrony or systemd-timesyncd."
    if now.year not in YEARS:
        return Diagnosis("clock", Level.FAIL, f"The date {now:%Y-%m-%d} is impossible.", set_it)
    if list(ticks) != sorted(ticks) or ticks[0] == ticks[-1]:
        return Diagnosis(
            "clock", Level.FAIL, "The monotonic clock does not go forward.", "Use another virtual machine."
        )
    text = f"{now:%Y-%m-%d %H:%M} UTC"
    if synchronised is False:
        return Diagnosis("clock", Level.WARN, f"{text}, not synchronised by NTP.", set_it)
    return Diagnosis(
        "clock",
        Level.OK,
        f"{text}, {'synchronised by NTP' if synchronised else 'synchronisation unknown'}.",
    )


def now() -> datetime:
    """Return the time of the wall clock."""
    return datetime.now(UTC)


def ticks() -> list[int]:
    """Return some readings of the monotonic clock, a millisecond apart."""
    readings = []
    for _ in range(5):
        readings.append(time.monotonic_ns())
        time.sleep(0.001)
    return readings


def synchronised() -> bool | None:
    """Return the state of the clock by adjtimex(2); None where it is absent or a sandbox forbids the call."""
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
    if adjtimex is None:
        return None
    timex = ctypes.create_string_buffer(TIMEX_BYTES)  # all zero: modes 0 reads and changes nothing
    state = adjtimex(timex)
    return None if state < 0 else state != TIME_ERROR
