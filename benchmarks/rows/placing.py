"""Model processes with a device each: what they see, and how much of a device is declared to them."""

import json
import time
from collections import Counter
from importlib.util import find_spec
from typing import Any

from requests_toolbelt.multipart.decoder import MultipartDecoder

from benchmarks import ready, servers
from benchmarks.client import Client
from benchmarks.on_devices import LARGE, SMALL
from benchmarks.results import Line, Plan
from benchmarks.studies import study

GIB = 1 << 30
ROOM = 8
"""GiB of each of the two devices: a large and a small process fill one."""
DEVICES = f"fake:0={ROOM}GiB,fake:1={ROOM}GiB"
PATIENCE = 30.0
"""Seconds until both processes of a model have answered."""


def devices(plan: Plan) -> list[Line]:
    """Ask each of four processes on two devices what it sees."""
    with servers.ours(app="benchmarks.on_devices:app", GATEWAY_DEVICES=DEVICES) as server:
        ready.wait(server.port)
        views = [view for route in (LARGE, SMALL) for view in _both(server.port, route)]
        models = ready.health(server.port)["models"]
    declared: Counter[str] = Counter()
    booked: dict[tuple[str, str], int] = {}
    for route, model in models.items():
        for name, use in model["devices"].items():
            declared[name] += use["memory"]
            booked[route, name] = use["processes"]
    told = Counter((view["route"], view["shown"]) for view in views)
    fullest = max(declared.values()) / GIB
    others = sum((told - Counter(booked)).values())
    note = f"computes with {'PyTorch' if find_spec('torch') else 'nothing, since torch is not installed'}"
    return [
        Line(
            work="4 model processes on 2 devices: see another than the server booked", ours=others, must_reach="0",
            met=told == Counter(booked), note=note, samples={"processes": [float(len(views))]},
        ),
        Line(
            work="2 x 6 GiB and 2 x 2 GiB on 2 devices of 8 GiB: the fullest", unit="GiB", ours=fullest,
            must_reach=f"<= {ROOM} GiB", met=fullest <= ROOM and len(declared) == 2,
            samples={name: [count / GIB] for name, count in declared.items()},
        ),
    ]  # fmt: skip


def _both(port: int, route: str) -> list[dict[str, Any]]:
    """Return what each of the two processes of a model answers. Raises TimeoutError."""
    client, request = Client(port), study(0, path=route)
    views: dict[int, dict[str, Any]] = {}
    deadline = time.monotonic() + PATIENCE
    while len(views) < 2:
        if time.monotonic() > deadline:
            raise TimeoutError(f"one process of {route} has not answered in {PATIENCE:g} s")
        answer = client.post(request)
        parts = MultipartDecoder(bytes(answer.body), answer.headers["content-type"]).parts
        view = json.loads(parts[0].text)["study_ml_json"]
        views[view["pid"]] = {**view, "route": route}
    return list(views.values())
