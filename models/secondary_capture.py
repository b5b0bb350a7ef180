"""A secondary capture of the middle image, the outline of the body burnt in."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gateway import Image, SecondaryCapture
from models.anatomy import body, brightness

YELLOW = (255, 210, 0)


def capture(images: list[Image]) -> SecondaryCapture:
    """Answer one picture, RGB of 8 bits, which the gateway writes into a series of its own within the study."""
    image = images[len(images) // 2]
    return SecondaryCapture(_burnt_in(brightness(image)), "Body outline", of=image)


def _burnt_in(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    mask = body(pixels)
    low, high = np.percentile(pixels[mask] if mask.any() else pixels, (1, 99))
    grey = np.clip((pixels - low) / max(high - low, 1e-6), 0, 1) * 255
    rgb = np.stack([grey] * 3, axis=-1).astype(np.uint8)
    rgb[ndimage.binary_dilation(mask, iterations=2) & ~mask] = YELLOW
    return rgb
