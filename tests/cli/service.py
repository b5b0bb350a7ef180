"""A service that describes its request, and fails on request."""

from typing import Any

import numpy as np
import pydicom

from gateway import Gateway, StudyRefused

Answer = tuple[dict[str, Any], list[Any]]


def describe(request: dict[str, Any], files: list[Any], digest: str) -> Answer:
    """Return the request and each file: its SOP Instance UID, or its text."""
    return {"protocol_version": "1.0", "parts": [], "request": request, "seen": [_name(file) for file in files]}, []


def _name(file: Any) -> str:
    data = file.read()
    file.seek(0)
    return str(pydicom.dcmread(file).SOPInstanceUID) if data[128:132] == b"DICM" else data.decode()


def mask(request: dict[str, Any], files: list[Any], digest: str) -> Answer:
    """A boolean mask of ones over a volume of 16 x 16 slices, and a box on its first slice."""
    shape = {"timepoints": 1, "depth": len(files), "height": 16, "width": 16}
    part = {"binary_type": "boolean_mask", "binary_data_shape": shape}
    box = {"label": "all", "SOPInstanceUID": _name(files[0]), "top_left": [2, 2], "bottom_right": [12, 12]}
    answer = {"protocol_version": "1.0", "parts": [part], "bounding_boxes_2d": [box]}
    return answer, [np.ones(tuple(shape.values()), bool)]


def capture(request: dict[str, Any], files: list[Any], digest: str) -> Answer:
    """The first file back again, as a secondary capture."""
    return {"protocol_version": "1.0", "parts": [{"binary_type": "dicom_secondary_capture"}]}, files[:1]


def refuse(request: dict[str, Any], files: list[Any], digest: str) -> Answer:
    raise StudyRefused("Send one series.")


def fail(request: dict[str, Any], files: list[Any], digest: str) -> Answer:
    raise RuntimeError("a secret of the model")


app = Gateway(__name__)
for function in (describe, mask, capture, refuse, fail):
    app.add_inference_route("/" if function is describe else f"/{function.__name__}", function)
