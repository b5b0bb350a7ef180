"""Nodes of a Ray cluster that are killed under load: whose requests fail, and when capacity is back."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.generator import Load, Reply

if TYPE_CHECKING:
    from tests.ray_cluster import RayCluster

WINDOW, STEP = 3.0, 0.5
"""Seconds over which capacity is counted, and between the begins of two such windows."""
SETTLED = 2.0
"""Seconds of a load until its rate counts."""
FULL = 0.9
"""The share of the former rate at which capacity is back."""


@dataclass(frozen=True)
class Kill:
    """A node that was killed: when, in seconds of the load; the session of its processes; when another was there."""

    at: float
    session: int
    again: float


@dataclass(frozen=True)
class Failures:
    """Failed requests by where they were: begun by a replica of the killed node, begun by none, and all others."""

    there: list[Reply]
    on_the_way: list[Reply]
    elsewhere: list[Reply]


def kill(nodes: "RayCluster", place: int, began: float) -> Kill:
    """Kill all processes of a node at once, and start another in its place; ``began`` is the start of the load."""
    node, at = nodes.nodes[place], time.monotonic() - began
    nodes.kill(node)
    nodes.nodes[place] = nodes.start_node()
    return Kill(at, node.pid, time.monotonic() - began)


def sessions(notes: Path) -> dict[str, int]:
    """The session of processes in which each request began, by its id; each node is one."""
    lines = [line.split() for file in notes.iterdir() for line in file.read_text().splitlines()]
    return {request: int(session) for request, session in lines}


def replicas_of(kills: Iterable[Kill], notes: Path) -> list[int]:
    """The number of replicas that answered on each killed node."""
    found = [{int(line.split()[1]) for line in file.read_text().splitlines()} for file in notes.iterdir()]
    return [sum(kill.session in one for one in found) for kill in kills]


def sorted_failures(load: Load, kills: list[Kill], begun: dict[str, int]) -> Failures:
    """Tell the failed requests apart; one is a killed node's if it ended after that kill, and before the next."""
    found = Failures([], [], [])
    for reply in load.replies:
        if reply.status in (200, 503):
            continue
        latest = [kill for kill in kills if kill.at <= reply.due + reply.seconds][-1:]
        session = begun.get(json.loads(reply.fault)["request_id"]) if reply.status == 502 else -1
        if latest and session == latest[0].session:
            found.there.append(reply)
        elif latest and session is None:
            found.on_the_way.append(reply)
        else:
            found.elsewhere.append(reply)
    return found


def seconds_back(load: Load, kills: list[Kill]) -> list[float]:
    """Seconds from each kill until the rate over a window is again nearly that of before the first one."""
    ends = sorted(reply.due + reply.seconds for reply in load.of(200))
    before = sum(SETTLED < end <= kills[0].at for end in ends) / (kills[0].at - SETTLED)
    return [_back(ends, kill.at, FULL * before * WINDOW, load.seconds) - kill.at for kill in kills]


def _back(ends: list[float], at: float, enough: float, last: float) -> float:
    """Return the begin of the first window that has enough ends, ``last`` where none has."""
    low = at
    while low < last and sum(low < end <= low + WINDOW for end in ends) < enough:
        low += STEP
    return min(low, last)
