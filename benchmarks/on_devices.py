"""Two models on the devices that ``GATEWAY_DEVICES`` names: they answer what their process sees."""

import os
from importlib.util import find_spec
from typing import Any, BinaryIO

from benchmarks.models import Answer
from gateway import Execution, Gateway, current_device

LARGE, SMALL = "/large", "/small"
app = Gateway(__name__)


def seen(json_input: dict[str, Any], files: list[BinaryIO], digest: str) -> Answer:
    """Compute on the device, where PyTorch is installed, and answer what the environment shows."""
    device = current_device()
    if find_spec("torch"):
        import torch

        device = str(torch.ones(1, device=device).device)
    members = {"pid": os.getpid(), "shown": os.environ["CUDA_VISIBLE_DEVICES"], "device": device}
    return {"protocol_version": "1.0", "study_ml_json": members, "parts": []}, []


for route, memory in {LARGE: "6 GiB", SMALL: "2 GiB"}.items():
    app.add_inference_route(route, seen, execution=Execution(processes=2, devices="cuda", memory=memory))
