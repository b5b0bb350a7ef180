"""A service whose model takes no time: it decodes a series, and returns the same box in each slice as a mask."""

import numpy as np

from gateway import Gateway, Mask, Settings, Volume

app = Gateway(__name__, settings=Settings.from_environment())


@app.model("/box")
def box(ct: Volume) -> Mask:
    """Return a box of a quarter of each slice."""
    array = ct.array
    found = np.zeros(array.shape, bool)
    _, rows, columns = array.shape
    found[:, rows // 4 : -rows // 4, columns // 4 : -columns // 4] = True
    return Mask(found, "Box")
