"""Clicks of a session: how much later than the model alone the region is there, and how many bytes it takes."""

import json
import random
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import requests

from benchmarks import pairs, ready, servers
from benchmarks.results import Line, Plan, Samples
from gateway import Click, Clicks, Client, Point
from gateway.dicom.samples import phantom
from gateway.dicom.samples.phantom import HEIGHT_MM, WIDTH_MM
from models.region_growing import Growth

SLICES, SIZE, CHANGED = 28, 512, 1000
MORE_MS, BYTES = 150.0, 20_000
TOLERANCE, REACH = 50.0, 60.0


def clicks(plan: Plan) -> list[Line]:
    """Click into a loaded CT, inline and with a model process, beside the same model called in this process."""
    with tempfile.TemporaryDirectory(prefix="bench-clicks-") as folder:
        study = phantom.write(Path(folder), slices=SLICES, size=SIZE)
        return [
            line
            for name, processes in (("inline", 0), ("1 model process", 1))
            for line in _form(plan, study, name, processes)
        ]


def _form(plan: Plan, study: list[Path], name: str, processes: int) -> list[Line]:
    with servers.ours(app="benchmarks.clicked:app", GATEWAY_MODEL_PROCESSES=str(processes)) as server:
        ready.wait(server.port)
        with Client(f"http://127.0.0.1:{server.port}") as client:
            samples = _timed(plan, client, study)
            size = _size(client, study, server.port)
    ours, alone = (median(samples[each]) * 1000 for each in ("ours", "model"))
    work = f"click into {SLICES} slices of {SIZE} x {SIZE}, {name}"
    return [
        Line(
            work=f"{work}: region", unit="ms", ours=ours, baseline=alone, against="model alone", ratio=ours / alone,
            must_reach=f"<= {MORE_MS:g} ms more", met=ours - alone <= MORE_MS, samples=samples,
        ),
        Line(
            work=f"{work}: body for {CHANGED} changed voxels", unit="KB", ours=size / 1000,
            must_reach=f"<= {BYTES // 1000} KB", met=size <= BYTES,
        ),
    ]  # fmt: skip


def _timed(plan: Plan, client: Client, study: list[Path]) -> Samples:
    """Return the seconds of clicks at places that change, each into a region without clicks."""
    values = [np.frombuffer(one.PixelData, "<u2") for one in phantom.datasets(slices=SLICES, size=SIZE)]
    array = np.stack(values).reshape(SLICES, SIZE, SIZE).astype(np.float32) - 1024
    growth = Growth(array, np.array([HEIGHT_MM / SLICES, WIDTH_MM / SIZE, WIDTH_MM / SIZE]), TOLERANCE, REACH)
    chosen = random.Random(7)
    places = [
        Point(chosen.randrange(SLICES), chosen.randrange(150, 360), chosen.randrange(100, 400))
        for _ in range(plan.clicks + 1)
    ]
    with client.session(study, "/region-growing", {"tolerance": TOLERANCE, "reach": REACH}) as session:
        clicked, modelled = iter(places), iter(places)

        def ours() -> float:
            place, started = next(clicked), time.perf_counter()
            session.click(place)
            seconds = time.perf_counter() - started
            session.reset()
            return seconds

        def model() -> float:
            place, started = next(modelled), time.perf_counter()
            growth.region(Clicks((Click(place),)))
            seconds = time.perf_counter() - started
            growth.region(Clicks())
            return seconds

        return pairs.alternate(plan.clicks, {"ours": ours, "model": model})


def _size(client: Client, study: list[Path], port: int) -> int:
    """Return the bytes of the response to a click that changes CHANGED voxels."""
    with client.session(study, "/scatter", {"count": CHANGED}) as session:
        url = f"http://127.0.0.1:{port}/sessions/{session.id}/input"
        response = requests.post(url, json={"points": [{"at": [0, 0, 0]}]}, timeout=60)
        assert json.loads(response.content)["region"]["voxels"] == CHANGED
        return len(response.content)
