"""Renderings of single frames: what a person sees, as PNG or JPEG (PS3.18 8.3.5, 10.4.1.1.3)."""

import io
import math
from dataclasses import dataclass

from PIL import Image

from gateway.dicom.decoding.pixels import to_rgb
from gateway.dicom.decoding.stored import read_frame
from gateway.dicom.decoding.windows import Window
from gateway.dicom.drawing.render import LARGEST
from gateway.dicom.web.frames import StoredImage
from gateway.errors import QueryRefused

FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG"}
"""Formats by media type, the default first (PS3.18 8.7.4)."""
_FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
DEFAULT_QUALITY = 90


@dataclass(frozen=True)
class Viewport:
    """The largest size of a rendering, and the part of the image that it shows: x, y, width, height; None for all."""

    width: int
    height: int
    region: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Rendering:
    """The parameters of a rendering."""

    window: Window | None = None
    viewport: Viewport | None = None
    quality: int = DEFAULT_QUALITY


def read_rendering(window: str = "", viewport: str = "", quality: str = "") -> Rendering:
    """Read the parameters ``window``, ``viewport`` and ``quality``, "" where one is absent. Raises QueryRefused."""
    return Rendering(_window(window), _viewport(viewport), _quality(quality))


def _window(text: str) -> Window | None:
    if not text:
        return None
    try:
        centre, width, function = text.split(",")
        numbers = float(centre), float(width)
        if not all(map(math.isfinite, numbers)) or numbers[1] <= 0:
            raise ValueError
        return *numbers, _FUNCTIONS[function.lower()]
    except (ValueError, KeyError):
        raise QueryRefused(
            "window should be its centre, its width above 0 and linear, linear-exact or sigmoid, such as 40,400,linear."
        ) from None


def _viewport(text: str) -> Viewport | None:
    if not text:
        return None
    parts = text.split(",")
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 6) or min(numbers) < 0 or max(numbers) > 65535 or min(numbers[:2]) == 0:
        raise QueryRefused("viewport should be width,height or width,height,x,y,width,height in pixels.")
    width, height, *region = numbers
    if max(width, height) > LARGEST or (region and not min(region[2:])):
        raise QueryRefused(f"viewport should have at most {LARGEST} pixels a side, and show a part above 0 pixels.")
    return Viewport(width, height, (region[0], region[1], region[2], region[3]) if region else None)


def _quality(text: str) -> int:
    if not text:
        return DEFAULT_QUALITY
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= 100):
        raise QueryRefused("quality should be 1 to 100.")
    return int(text)


def render_frame(image: StoredImage, number: int, rendering: Rendering, media_type: str) -> bytes:
    """Return a frame, counted from 0, in one of FORMATS. Raises StudyRefused for pixels that cannot be decoded."""
    header = image.instance.header
    rgb = to_rgb(header, read_frame(image.instance, number), number, rendering.window)
    picture = Image.fromarray(rgb)
    if rendering.viewport is not None:
        picture = _fitted(picture, rendering.viewport)
    data = io.BytesIO()
    options = {"quality": rendering.quality} if media_type == "image/jpeg" else {}
    picture.save(data, FORMATS[media_type], **options)
    return data.getvalue()


def _fitted(picture: Image.Image, viewport: Viewport) -> Image.Image:
    """Cut the region, and scale it into the viewport with its proportions (PS3.18 8.3.5.1.3)."""
    if viewport.region is not None:
        x, y, width, height = viewport.region
        if x + width > picture.width or y + height > picture.height:
            raise QueryRefused(f"The image of the viewport has {picture.width} columns and {picture.height} rows.")
        picture = picture.crop((x, y, x + width, y + height))
    scale = min(viewport.width / picture.width, viewport.height / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.BILINEAR)
