"""Wall time of the first row: one client that sends a study and receives a mask."""

from contextlib import ExitStack
from dataclasses import fields
from importlib import import_module
from statistics import median

from benchmarks import floor, pairs, peers, servers
from benchmarks.models import SLICE
from benchmarks.results import Line, Plan, at_most, skipped
from benchmarks.studies import PART_SIZE, KiB, MiB, study
from gateway import Settings


def wall(plan: Plan) -> list[Line]:
    """Compare with the plain gateway and with sha256 alone; report the time of the sockets alone."""
    sent = study(plan.parts, depth=plan.depth)
    with servers.ours() as ours, servers.plain() as plain, floor.serving(plan.depth * SLICE) as bare:
        works = {
            "ours": pairs.exchange(ours.port, sent),
            "plain": pairs.exchange(plain.port, sent),
            "sha256 alone": pairs.hashing(sent, plan.depth),
            "bare socket": pairs.unchecked(bare.port, sent),
        }
        samples = pairs.alternate(plan.pairs, works)
    note = f"a bare socket that neither reads nor hashes the bytes takes {median(samples['bare socket']):.3f} s"
    return [
        at_most(0.65, first_row(plan), samples, "ours", "plain"),
        at_most(1.6, first_row(plan), samples, "ours", "sha256 alone", note=note),
    ]


def blake3(plan: Plan) -> list[Line]:
    """Measure the faster digest against sha256 in the plain gateway and against a peer without any digest."""
    work = f"{first_row(plan)}, blake3"
    if "digest" not in {field.name for field in fields(Settings)}:
        return [skipped(work, "this gateway has no setting named digest")]
    try:
        digest = import_module("blake3").blake3
    except ImportError:
        return [skipped(work, "the package blake3 is not installed")]
    sent = study(plan.parts, depth=plan.depth)
    with ExitStack() as stack:
        ours = stack.enter_context(servers.ours(GATEWAY_DIGEST="blake3"))
        plain = stack.enter_context(servers.plain())
        works = {"ours": pairs.exchange(ours.port, sent, digest), "plain": pairs.exchange(plain.port, sent)}
        missing = peers.add(stack, works, [peers.FASTAPI], plan)
        samples = pairs.alternate(plan.pairs, works)
    lines = [at_most(0.45, work, samples, "ours", "plain")]
    if missing:
        return [*lines, *(skipped(f"{work}, against {name}", reason) for name, reason in missing.items())]
    return [*lines, at_most(1.0, work, samples, "ours", peers.FASTAPI.name)]


def first_row(plan: Plan) -> str:
    """Return a description of the first row."""
    size = plan.depth * SLICE // MiB
    return f"{plan.parts} x {PART_SIZE // KiB} KiB in, {size} MiB mask out"
