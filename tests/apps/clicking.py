"""Interactive models for tests of sessions: quick ones that show what they were asked for."""

import os
import time

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


def inside(volume: Volume) -> Interactive[Mask]:
    """Answer one click with the process that the model is in: as many voxels as its id."""
    clicks = Clicks()
    while not clicks.finished:
        mask = np.zeros(volume.shape, bool)
        mask.flat[: os.getpid() % mask.size] = bool(clicks.points)
        clicks = yield Ask("Click.", kind="clicks", shown=Mask(mask))
    return Mask(mask)


app = Gateway(__name__)
app.model("/region-growing", version="1.0.0")(grow)
app.model("/paint", version="1.0.0")(paint)
app.model("/organs", version="1.0.0")(organs)
app.model("/one", version="1.0.0", execution=Execution(concurrency=1))(paint)
app.model("/brief", version="1.0.0", execution=Execution(timeout=1))(paint)
app.model("/inside", version="1.0.0")(inside)


@app.model("/still", version="1.0.0")
def still(volume: Volume) -> Mask:
    """Find nothing, and ask nothing."""
    return Mask(np.zeros(volume.shape, bool))


@app.after_request
def name_worker(response):
    """Tell the test which HTTP worker answered."""
    response.headers["X-Worker"] = str(os.getpid())
    return response
