"""Interactive models: the region growing that comes along, and one that changes the same number of voxels each time."""

import numpy as np

from gateway import Ask, Clicks, Gateway, Interactive, Mask, Volume
from models.region_growing import grow


def scatter(volume: Volume, count: int) -> Interactive[Mask]:
    """Change ``count`` voxels all over the volume with each click."""
    random, mask, clicks = np.random.default_rng(7), np.zeros(volume.shape, bool), Clicks()
    while not clicks.finished:
        clicks = yield Ask("Click.", kind="clicks", shown=Mask(mask))
        mask = mask.copy()
        mask.flat[random.choice(mask.size, count, replace=False)] ^= True
    return Mask(mask)


app = Gateway(__name__)
app.model("/region-growing")(grow)
app.model("/scatter")(scatter)
