"""A service that tells what it was given, and fails when asked to."""

from typing import Any

import numpy as np
import pydicom

from gateway import Gateway, StudyRefused

Answer = tuple[dict[str, Any], list[Any]]


def describe(request: dict[str, Any], files: list[Any], digest: str) -> Answer:
    """A boolean mask over the DICOM files, and in the JSON: the request, and what each file was."""
    shape = {"timepoints": 1, "depth": 0, "height": 0, "width": 0}
    seen: list[str] = []
    for file in files:
        data = file.read()
        if data[128:132] != b"DICM":
            seen.append(data.decode())
            continue
        file.seek(0)
        header = pydicom.dcmread(file, stop_before_pixels=True)
        seen.append(header.SOPInstanceUID)
        shape |= {"depth": shape["depth"] + 1, "height": header.Rows, "width": header.Columns}
    mask = np.ones(tuple(shape.values()), bool)
    part = {"binary_type": "boolean_mask", "binary_data_shape": shape}
    return {"protocol_version": "1.0", "parts": [part], "request": request, "seen": seen}, [mask]


def capture(request: dict[str, Any], files: list[Any], digest: str) -> Answer:
    """The first file back again, as a secondary capture."""
    return {"protocol_version": "1.0", "parts": [{"binary_type": "dicom_secondary_capture"}]}, files[:1]


def refuse(request: dict[str, Any], files: list[Any], digest: str) -> Answer:
    raise StudyRefused("Send one series.")


def fail(request: dict[str, Any], files: list[Any], digest: str) -> Answer:
    raise RuntimeError("a secret of the model")


app = Gateway(__name__)
for function in (describe, capture, refuse, fail):
    app.add_inference_route("/" if function is describe else f"/{function.__name__}", function)
