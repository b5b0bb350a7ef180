"""A model in a process of its own: its memory against a model in each worker, and the cost of the way to it."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from statistics import median

from benchmarks import pairs, ready, servers, trees
from benchmarks.client import Client
from benchmarks.results import Line, Plan, Samples
from benchmarks.servers import Server, Serving
from benchmarks.studies import PART_SIZE, MiB, Study, study

HEAVY, LIGHT = 512, 1
"""MiB of the model's weights."""
WORKERS = (1, 4)
ALLOWED = 1.05
HOP_SIZE = 32 * MiB
HOP_MS = 8.0
MORE_MIB = 4.0
"""MiB of more memory allowed while a model works at the study: an eighth of a copy."""
LOOKS = 3


def weights(plan: Plan) -> list[Line]:
    """Measure PSS of the whole server, heavy less light model, behind one and four HTTP workers and of plain ones."""
    return [_weights_line(workers) for workers in WORKERS]


def _weights_line(workers: int) -> Line:
    def serving(mib: int) -> Serving:
        return servers.kept("/weights", processes=1, workers=workers, BENCH_WEIGHTS=str(mib))

    def plain(mib: int) -> Serving:
        return servers.plain(workers=workers, app="benchmarks.plain_weights:app", BENCH_WEIGHTS=str(mib))

    ours, beside = ([_settled(start(mib), workers) / MiB for mib in (HEAVY, LIGHT)] for start in (serving, plain))
    more, plain_more, limit = ours[0] - ours[1], beside[0] - beside[1], ALLOWED * (HEAVY - LIGHT)
    return Line(
        work=f"model of {HEAVY} MiB against {LIGHT} MiB, {workers} HTTP workers, 1 model process: more PSS",
        unit="MiB", ours=more, baseline=plain_more, against="in each plain worker", ratio=more / plain_more,
        must_reach=f"<= {limit:.0f} MiB", met=more <= limit, samples={"ours": ours, "plain": beside},
        note=f"in all {ours[0]:.0f} and {ours[1]:.0f} MiB, plain workers {beside[0]:.0f} and {beside[1]:.0f} MiB",
    )  # fmt: skip


def _settled(serving: Serving, workers: int) -> int:
    """Return the PSS of the whole server once it is ready and has stopped growing."""
    with serving as server:
        ready.wait(server.port)
        before, same, deadline = 0, 0, time.monotonic() + 60
        while same < LOOKS and time.monotonic() < deadline:
            time.sleep(0.5)
            now = trees.total(server.pid)
            whole = len(server.workers()) >= workers
            same = same + 1 if whole and abs(now - before) < MiB else 0
            before = now
        return before


def hop(plan: Plan) -> list[Line]:
    """Send a study to a model that counts its files: latency, and memory while the model works."""
    sent = study(HOP_SIZE // PART_SIZE, path="/waits", seconds=0)
    held = study(HOP_SIZE // PART_SIZE, path="/holds", seconds=1)
    with ExitStack() as stack:
        forms = {
            name: stack.enter_context(servers.kept("/waits /holds", processes=count))
            for name, count in {"process": 1, "inline": 0}.items()
        }
        for server in forms.values():
            ready.wait(server.port)
        kinds: dict[str, Callable[[int], int]] = {"PSS": trees.total, "PSS, unmapped files too": trees.held}
        fresh = {what: {name: held_by(one.pid) for name, one in forms.items()} for what, held_by in kinds.items()}
        times = pairs.alternate(plan.hops, {name: pairs.exchange(one.port, sent) for name, one in forms.items()})
        lines = [_hop_line(times)]
        for what, held_by in kinds.items():
            works: dict[str, pairs.Work] = {
                name: partial(_more, one, held, held_by, fresh[what][name]) for name, one in forms.items()
            }
            lines.append(_held_line(what, pairs.alternate(LOOKS, works)))
    return lines


def _hop_line(times: Samples) -> Line:
    process, inline = (median(times[name]) * 1000 for name in ("process", "inline"))
    added = median(a - b for a, b in zip(times["process"], times["inline"], strict=True)) * 1000
    return Line(
        work=f"{HOP_SIZE // MiB} MiB study to a model process", unit="ms", ours=process, baseline=inline,
        against="inline", ratio=process / inline, must_reach=f"added <= {HOP_MS:g} ms", met=added <= HOP_MS,
        note=f"the way to the process adds {added:.1f} ms", samples=times,
    )  # fmt: skip


def _more(server: Server, sent: Study, held_by: Callable[[int], int], fresh: int) -> float:
    """Return the MiB used while a model works at a study, over those before the first one; pooled memory counts."""
    client = Client(server.port)
    asking = threading.Thread(target=pairs.seconds, args=[client, sent])
    asking.start()
    time.sleep(0.7)  # received and touched; the model still sleeps
    during = held_by(server.pid)
    asking.join()
    return (during - fresh) / MiB


def _held_line(what: str, found: Samples) -> Line:
    process, inline = median(found["process"]), median(found["inline"])
    return Line(
        work=f"{HOP_SIZE // MiB} MiB study at a model process: more {what}", unit="MiB", ours=process, baseline=inline,
        against="inline", ratio=process / inline, must_reach=f"<= {MORE_MIB:g} MiB more",
        met=process - inline <= MORE_MIB, samples=found,
    )  # fmt: skip
