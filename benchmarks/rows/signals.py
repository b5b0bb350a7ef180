"""Outcomes of requests while servers stop, reload, are replaced, and lose model processes."""

import os
import random
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from benchmarks import generator, ready, servers, trees
from benchmarks.generator import Load, Order
from benchmarks.results import Line, Plan
from benchmarks.rows.latencies import SMALL_PART
from benchmarks.servers import Server, Serving

HOST = "gateway.executors.host"
IN_FLIGHT = 50
WORKERS, THREADS = 4, 16
HOLD = 6.0
"""Seconds in which they come in, and the signal does."""
RATE = 20.0
"""Requests a second while servers are signalled, half of what two places can answer in 50 ms each."""
SECONDS = 0.05
PAUSE = 2.0
"""Seconds between one signal's end and the next."""
FORMS = {"2 model processes": 2, "inline": 0}


def signals(plan: Plan) -> list[Line]:
    """Stop and reload servers by SIGTERM and SIGHUP, and replace one server after the other."""
    works = (_stopped, _reloaded, _replaced)
    return [work(form, processes, plan) for work in works for form, processes in FORMS.items()]


def deaths(plan: Plan) -> list[Line]:
    """Kill a model process repeatedly under load."""
    with servers.kept("/waits", processes=2, workers=2) as server:
        ready.wait(server.port)
        with generator.running(_order([server.port], 3600)) as load:
            recoveries = [_killed(server) for _ in range(plan.kills)]
            time.sleep(1)
            found = load.stopped()
    lost = found.of(502)
    failed = [reply for reply in found.replies if reply.status not in (200, 502)]
    slowest = max((reply.seconds for reply in lost), default=0.0)
    beyond = max(0, len(lost) - plan.kills)
    note = f"{len(lost)} of {len(found.replies)} were with a process that was killed, told within {slowest:.2f} s"
    return [
        _line(f"1 of 2 model processes killed {plan.kills} times: others that failed", found, failed, beyond, note),
        Line(
            work=f"1 of 2 model processes killed {plan.kills} times: all ready again, worst", unit="s",
            ours=max(recoveries), note=f"median {sorted(recoveries)[len(recoveries) // 2]:.2f} s",
            samples={"recoveries": recoveries},
        ),
    ]  # fmt: skip


def _killed(server: Server) -> float:
    """Kill one process; return the seconds until all are ready again."""
    time.sleep(random.uniform(0.2, 0.4))
    pid = random.choice(trees.running(server.pid, HOST))
    started = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    while not trees.ended(pid) or ready.health(server.port).get("code") == 200 and time.monotonic() - started < 0.2:
        time.sleep(0.01)
    ready.wait(server.port)
    return time.monotonic() - started


def _stopped(form: str, processes: int, plan: Plan) -> Line:
    """Send SIGTERM with fifty requests in flight, which end only after all have arrived."""
    limits = {"GATEWAY_MAX_QUEUE": str(IN_FLIGHT)}
    with servers.kept("/waits", processes=processes, workers=WORKERS, threads=THREADS, **limits) as server:
        ready.wait(server.port)
        with generator.running(_order([server.port], 60, until=time.monotonic() + HOLD)) as load:
            _await(lambda: _in_flight(server) >= IN_FLIGHT, HOLD)
            os.kill(server.pid, signal.SIGTERM)
            found = load.result()
        started = time.monotonic()
        _await(lambda: trees.ended(server.pid))
        ended = time.monotonic() - started
    failed = [reply for reply in found.replies if reply.status not in (200, 503)]
    missing = IN_FLIGHT - len(found.of(200))
    note = f"{len(found.of(503))} were turned away at first and came again; ended {ended:.1f} s after the last answer"
    work = f"SIGTERM with {IN_FLIGHT} in flight, {WORKERS} x {THREADS} threads, {form}: failed"
    return _line(work, found, failed, missing - len(failed), note)


def _reloaded(form: str, processes: int, plan: Plan) -> Line:
    """Send SIGHUP repeatedly."""
    with servers.kept("/waits", processes=processes, workers=2) as server:
        ready.wait(server.port)
        with generator.running(_order([server.port], 3600)) as load:
            seconds = [_reload(server) for _ in range(plan.reloads)]
            found = load.stopped()
    note = f"the new processes had taken over after {max(seconds):.1f} s at worst"
    return _line(f"{plan.reloads} x SIGHUP under load, {form}: failed", found, _bad(found), 0, note)


def _reload(server: Server) -> float:
    before, started = set(trees.below(server.pid)), time.monotonic()
    os.kill(server.pid, signal.SIGHUP)
    stays = {server.pid, *trees.running(server.pid, "gateway.executors.supervisor")}
    _await(lambda: not (before - stays) & set(trees.below(server.pid)))
    ready.wait(server.port)
    seconds = time.monotonic() - started
    time.sleep(PAUSE)
    return seconds


def _replaced(form: str, processes: int, plan: Plan) -> Line:
    """Replace two servers in turn behind a balancer that polls /readyz."""
    with ExitStack() as stack:
        homes = [_Home(partial(servers.kept, "/waits", processes=processes, GATEWAY_DRAIN_DELAY="1")) for _ in "ab"]
        for home in homes:
            stack.callback(home.stop)
            home.start()
        with generator.running(_order([home.port for home in homes], 3600, probed=True)) as load:
            for home in homes:
                time.sleep(PAUSE)
                home.stop()
                home.start()
            time.sleep(PAUSE)
            found = load.stopped()
    return _line(f"two servers replaced one by one under load, {form}: failed", found, _bad(found), 0, "")


class _Home:
    """A port and the server on it."""

    def __init__(self, serving: Callable[..., Serving]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = int(listener.getsockname()[1])
        self._serving = serving
        self._stack = ExitStack()

    def start(self) -> None:
        """Start, and wait until it is ready."""
        self._stack.enter_context(self._serving(port=self.port))
        ready.wait(self.port)

    def stop(self) -> None:
        """End it by SIGTERM, and wait."""
        self._stack.close()


def _order(ports: list[int], seconds: float, *, until: float = 0.0, probed: bool = False) -> Order:
    """Return a steady load; with ``until``, requests at once that are answered after that moment."""
    question = {"until": until} if until else {"seconds": SECONDS}
    rate, clients = (0.0, IN_FLIGHT) if until else (RATE, 0)
    asked = [("/waits", question, 1, SMALL_PART)]
    return Order(
        ports=ports, asked=asked, seconds=seconds, rate=rate, clients=clients, once=bool(until), probed=probed
    )  # fmt: skip


def _in_flight(server: Server) -> int:
    models = ready.health(server.port).get("models", {})
    return sum(int(model["running"]) + int(model["queued"]) for model in models.values())


def _await(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come about")
        time.sleep(0.02)


def _bad(load: Load) -> list[generator.Reply]:
    return [reply for reply in load.replies if reply.status != 200]


def _line(work: str, load: Load, failed: list[generator.Reply], more: int, note: str) -> Line:
    count = len(failed) + more
    words = [f"{len(load.of(200))} answered", note, f"the first that failed: {failed[0]}" if failed else ""]
    return Line(work=work, ours=count, must_reach="0", met=count == 0, note="; ".join(word for word in words if word))
