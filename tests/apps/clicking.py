"""Interactive models for tests of sessions: quick ones that show what they were asked for."""

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gateway import Ask, Clicks, Execution, Gateway, Interactive, Mask, Progress, Volume
from models.region_growing import grow


def paint(volume: Volume, seconds: float = 0.0, hang_at: int = -1, raise_at: int = -1) -> Interactive[Mask]:
    """Paint a voxel for each click in force; after ``hang_at`` or ``raise_at`` points do that."""
    clicks, painted = Clicks(), np.zeros(volume.shape, bool)
    yield Progress(1, 2, "painting")
    while not clicks.finished:
        clicks = yield Ask("Click.", kind="clicks", shown=Mask(painted, "Painted"))
        time.sleep(seconds)
        if len(clicks.points) == raise_at:
            raise RuntimeError("DOE^JANE")
        while len(clicks.points) == hang_at:
            time.sleep(0.01)
        painted = np.zeros(volume.shape, bool)
        for click in clicks.points:
            painted[click.point.voxel] = click.positive
    return Mask(painted, "Painted")


def organs(volume: Volume) -> Interactive[list[Mask]]:
    """Ask for an organ by its name, a secret and clicks, twice over."""
    found = []
    for number in (1, 2):
        name = yield Ask(f"Organ {number}?", kind="choice", choices=("liver", "spleen"))
        yield Ask("The secret?", kind="password")
        clicks, mask = Clicks(), np.zeros(volume.shape, bool)
        while not clicks.finished:
            clicks = yield Ask(f"Click into the {name}.", kind="clicks", shown=Mask(mask, name))
            mask = np.zeros(volume.shape, bool)
            for click in clicks.points:
                mask[click.point.voxel] = True
        found.append(Mask(mask, name))
    return found


def still(volume: Volume) -> Mask:
    """Find nothing, and ask nothing."""
    return Mask(np.zeros(volume.shape, bool))


MODELS: dict[str, tuple[Callable[..., Any], Execution | None]] = {
    "/paint": (paint, None),
    "/organs": (organs, Execution(concurrency=1)),
    "/still": (still, None),
    "/one": (paint, Execution(concurrency=1)),
    "/brief": (paint, Execution(timeout=1)),
    "/region-growing": (grow, None),
}
"""By route; a server has those that ``MODELS`` names, since each may cost a process."""


def add_models(app: Gateway, *routes: str) -> None:
    """Add the models on these routes."""
    for route in routes:
        target, execution = MODELS[route]
        app.model(route, version="1.0.0", execution=execution)(target)


app = Gateway(__name__)
add_models(app, *os.environ.get("MODELS", "/paint").split())


@app.after_request
def name_worker(response):
    """Tell the test which HTTP worker answered."""
    response.headers["X-Worker"] = str(os.getpid())
    return response
