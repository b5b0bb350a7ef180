"""All example models in one service: ``python -m gateway serve models.app:app``."""

from gateway import Gateway
from models import bounding_boxes, classification, secondary_capture, segmentation_2d, segmentation_3d

MODELS = {
    "/": segmentation_3d.segment,
    "/bounding-boxes": bounding_boxes.find_boxes,
    "/classification": classification.classify,
    "/secondary-capture": secondary_capture.capture,
    "/segmentation-2d": segmentation_2d.segment,
    "/segmentation-3d": segmentation_3d.segment,
}

app = Gateway(__name__)
for route, model in MODELS.items():
    app.add_inference_route(route, model)
