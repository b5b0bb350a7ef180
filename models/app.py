"""All example models in one service: ``python -m gateway serve models.app:app``."""

from collections.abc import Callable
from typing import Any

from gateway import Gateway
from models import bounding_boxes, classification, region_growing, secondary_capture, segmentation_2d, segmentation_3d

MODELS: dict[str, Callable[..., Any]] = {
    "/": segmentation_3d.segment,
    "/bounding-boxes": bounding_boxes.find_boxes,
    "/classification": classification.classify,
    "/secondary-capture": secondary_capture.capture,
    "/segmentation-2d": segmentation_2d.segment,
    "/segmentation-3d": segmentation_3d.segment,
}
PLAIN = (segmentation_2d.segment,)
"""Models in the plain form: the request's JSON, its files and its digest in, a dict and buffers out."""


def add(app: Gateway, route: str, model: Callable[..., Any]) -> None:
    """Serve one of the models on ``route``."""
    if model in PLAIN:
        app.add_inference_route(route, model)
    else:
        app.model(route, version="1.0.0", deterministic=True)(model)


app = Gateway(__name__)
for route, model in MODELS.items():
    add(app, route, model)
app.model("/region-growing", version="1.0.0")(region_growing.grow)  # answers a run or a session, as it asks its caller
