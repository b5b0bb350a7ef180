"""Growth of memory over thousands of requests, and leaked files."""

from statistics import median

from benchmarks import servers, soak
from benchmarks.results import Line, Plan
from benchmarks.rows.latencies import SMALL_PART
from benchmarks.soak import Soak
from benchmarks.studies import KiB, MiB, study

LIMIT = 1.0
"""Percent an hour."""


def endurance(plan: Plan) -> list[Line]:
    """Send small requests with large ones among them to one worker."""
    small = study(1, path="/tiny", part_size=SMALL_PART)
    large = study(plan.parts, depth=plan.depth)
    with servers.ours() as ours:
        found = soak.run(ours, small, large, plan)
    work = f"{plan.soak_small:,} small and {plan.soak_large} large requests"
    return [_growth_line(f"{work}: growth of RSS", found), _files_line(f"{work}: files left", found)]


def _growth_line(work: str, found: Soak) -> Line:
    growth, half = found.growth(), len(found.resident) // 2
    minutes = (found.seconds[-1] - found.seconds[half]) / 60
    change = (found.resident[-1] - found.resident[half]) / KiB
    return Line(
        work=work, unit="%/h", ours=growth, must_reach=f"< {LIMIT:g} %/h", met=growth < LIMIT,
        note=f"second half: {minutes:.1f} min, {change:+.0f} KiB of {median(found.resident) / MiB:.0f} MiB",
        samples={"seconds": found.seconds, "resident": [float(size) for size in found.resident]},
    )  # fmt: skip


def _files_line(work: str, found: Soak) -> Line:
    left = [*found.left_open, *found.left_lying]
    return Line(work=work, ours=len(left), must_reach="0", met=not left, note=", ".join(left))
