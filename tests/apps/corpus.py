"""Models whose answers carry the pixels that they were given, so that a client can compare them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway import Gateway, Heatmap, Image, Volume

app = Gateway(__name__)


def low_bytes(stored: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """uint8 of ``shape``: the lowest byte of each stored value, of colours the lowest byte of their sum."""
    return stored.astype(np.int64).reshape(*shape, -1).sum(axis=-1).astype(np.uint8)


@app.model("/images")
def images(images: list[Image]) -> list[Heatmap]:
    """The low bytes of each image."""
    return [Heatmap(low_bytes(one.stored, one.shape), of=one) for one in images]


@app.model("/volume")
def volume(volume: Volume) -> Heatmap:
    """The low bytes of a volume."""
    return Heatmap(low_bytes(volume.stored, volume.shape))
