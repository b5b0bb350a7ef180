"""Models with devices: they answer what their process sees of them, and fail as libraries of devices do.

The errors have the names of PyTorch's classes; none of its code is here.
"""

import os
from pathlib import Path

from gateway import Batch, Execution, Gateway, current_device

app = Gateway(__name__)
NAMES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
IMPORTED = {name: os.environ.get(name) for name in NAMES}
"""What was set when this module was imported, as a library would have read it."""
OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {"__module__": "torch"})
AcceleratorError = type("AcceleratorError", (RuntimeError,), {"__module__": "torch", "error_code": 700})


def answer(**members):
    """An answer in words, and of which process and device."""
    device = {"visible": IMPORTED["CUDA_VISIBLE_DEVICES"], "now": os.environ.get("CUDA_VISIBLE_DEVICES")}
    device |= {"hip": IMPORTED["HIP_VISIBLE_DEVICES"], "device": current_device()}
    return {"study_ml_json": {**members, **device, "pid": os.getpid()}}, []


def one(json_input, files, digest):
    """Answer, or fail in a way of devices."""
    if json_input.get("fail") == "memory":
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
    if json_input.get("fail") == "sticky":
        raise AcceleratorError("CUDA error: an illegal memory access was encountered")
    return answer()


def several(jsons, files, digests):
    """Answer a batch, or run out of memory: by its size, or by one request."""
    room = min([members["room"] for members in jsons if "room" in members], default=len(jsons))
    if len(jsons) > room:
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
    return [answer(size=len(jsons), n=members.get("n")) for members in jsons]


large = os.environ.get("LARGE", "6 GiB")
if "RELOADED" in os.environ and Path(os.environ["RELOADED"]).exists():
    large = Path(os.environ["RELOADED"]).read_text()
app.add_inference_route("/large", one, execution=Execution(processes=2, devices="cuda", memory=large))
app.add_inference_route("/small", one, execution=Execution(devices="auto", memory="1 GiB"))
app.add_inference_route("/none", one, execution=Execution(devices="none"))
app.add_inference_route("/inline", one, execution=Execution(processes=0))
batch = Batch(max_size=4, max_wait_ms=10_000, mix_parameters=True)
app.add_inference_route("/several", several, execution=Execution(batch=batch, devices="cuda:1"))
