"""Requests of all kinds for minutes, good, invalid and aborted: growth of memory, and leaked files."""

import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from benchmarks import generator, memory, ready, servers, soak, trees
from benchmarks.generator import Asked, Load, Order
from benchmarks.results import Line, Plan
from benchmarks.rows.endurance import LIMIT
from benchmarks.rows.latencies import SMALL_PART
from benchmarks.servers import Server
from benchmarks.studies import PART_SIZE, MiB
from gateway.spool.anonymous_files import IDLE_SECONDS

RATE = 20.0
"""Requests a second: an hour of a busy hospital rather than of a load test, so that both forms fit on two cores."""
ASKED: list[Asked] = [
    *6 * [("/waits", {"seconds": 0}, 1, SMALL_PART)],
    ("/waits", {"seconds": 0}, 64, PART_SIZE),
    ("/holds", {"seconds": 0.01}, 8, PART_SIZE),
    ("/batched", {}, 1, SMALL_PART),
    ("/waits", {"seconds": "a word"}, 1, SMALL_PART),
    ("/nowhere", {}, 1, SMALL_PART),
]
"""What is sent, drawn by chance: small and large studies, batches, a model that raises, a missing route."""
EXPECTED = (200, 404, 500)
WARM_SECONDS = 5.0
SETTLE_SECONDS = 2.5 * IDLE_SECONDS
SAMPLE_SECONDS = 0.1
WINDOW_SECONDS = 10.0
WINDOWS = 20
"""At least so many; the least of each counts, when no large study is under way."""
FORMS = {"1 process for each model": 1, "inline": 0}


def mixed(plan: Plan) -> list[Line]:
    """Run both forms at once for the minutes of the plan; ``--minutes 30`` is the long run."""
    with ThreadPoolExecutor(len(FORMS)) as threads:
        told = threads.map(lambda form: _lines(form, FORMS[form], plan), FORMS)
        return [line for lines in told for line in lines]


def _lines(form: str, processes: int, plan: Plan) -> list[Line]:
    with servers.kept("/waits /holds /batched", processes=processes, workers=2) as server:
        ready.wait(server.port)
        generator.run(_order(server, WARM_SECONDS))
        opened = _settled(server)
        seconds, resident = [], []
        with generator.running(_order(server, plan.mixed_minutes * 60)) as running:
            ends = time.monotonic() + plan.mixed_minutes * 60
            while time.monotonic() < ends:
                resident.append(_least(server, min(WINDOW_SECONDS, plan.mixed_minutes * 60 / WINDOWS)))
                seconds.append(time.monotonic())
            load = running.result()
        left = _settled(server) - opened
        lying = len(list(server.temporary.rglob("*")))
    work = f"{plan.mixed_minutes:g} minutes of mixed requests, {form}"
    return [_growth_line(work, seconds, resident, load), _left_line(work, left, lying, load)]


def _order(server: Server, seconds: float) -> Order:
    return Order(ports=[server.port], asked=ASKED, seconds=seconds, rate=RATE)


def _least(server: Server, seconds: float) -> int:
    """Return the fewest bytes resident in all processes during a window."""
    found: list[int] = []
    ends = time.monotonic() + seconds
    while not found or time.monotonic() < ends:
        time.sleep(SAMPLE_SECONDS)
        found.append(trees.total(server.pid, "Rss"))
    return min(found)


def _settled(server: Server) -> int:
    """Return the open files of all processes once closed connections have ended and pooled memory is freed."""
    counts = []
    ends = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < ends:
        time.sleep(0.25)
        counts.append(sum(len(memory.open_files(pid)) for pid in trees.below(server.pid)))
    return min(counts)


def _growth_line(work: str, seconds: list[float], resident: list[int], load: Load) -> Line:
    half = len(seconds) // 2
    late, held = seconds[half:], resident[half:]
    growth = soak.theil_sen(late, held) * 3600 / median(held) * 100
    return Line(
        work=f"{work}: growth of RSS", unit="%/h", ours=growth, must_reach=f"< {LIMIT:g} %/h", met=growth < LIMIT,
        note=f"{len(load.replies)} requests; second half: {(held[-1] - held[0]) / MiB:+.1f} MiB of "
        f"{median(held) / MiB:.0f} MiB in {(late[-1] - late[0]) / 60:.1f} min",
        samples={"seconds": seconds, "resident": [float(size) for size in resident]},
    )  # fmt: skip


def _left_line(work: str, opened: int, lying: int, load: Load) -> Line:
    strange = [reply for reply in load.replies if reply.status not in EXPECTED]
    left = max(0, opened) + lying
    note = f"{opened:+d} open and {lying} temporary files; {len(strange)} strange replies {strange[:1]}"
    return Line(
        work=f"{work}: files left, strange replies", ours=left + len(strange), must_reach="0",
        met=not left and not strange, note=note,
    )  # fmt: skip
