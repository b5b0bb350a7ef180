"""A ball in a volume, as each kind that a viewer lays over a series: a mask, a length, and a heatmap."""

import numpy as np

from gateway import Gateway, Heatmap, LinearMeasurement, Mask, Volume

app = Gateway(__name__)


@app.model("/", version="1.0.0", deterministic=True)
def ball(volume: Volume) -> list[Mask | LinearMeasurement | Heatmap]:
    """Find a ball to the front and the left of the middle, its radius a fifth of each side of the volume."""
    slices, rows, columns = volume.array.shape
    z, y, x = np.ogrid[:slices, :rows, :columns]
    far = np.sqrt((y / rows - 0.4) ** 2 + (x / columns - 0.6) ** 2 + (z / slices - 0.5) ** 2)
    middle = slices // 2
    return [
        Mask(far < 0.2, "Sphere"),
        LinearMeasurement("Diameter", (columns / 4, rows / 2), (columns * 3 / 4, rows / 2), slice=middle),
        Heatmap(np.clip(1 - 2 * far, 0, 1).astype(np.float32), "Nearness"),
    ]
