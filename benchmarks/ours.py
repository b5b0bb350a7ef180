"""The gateway, with the same models on the same routes as the plain one."""

from benchmarks.models import MODELS
from gateway import Gateway

app = Gateway(__name__)
for route, model in MODELS.items():
    app.add_inference_route(route, model)
