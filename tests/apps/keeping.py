"""A service whose models store their input, use it late, or release it; served by the tests under gunicorn."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from gateway import Gateway

app = Gateway(__name__)
kept: list[Any] = []
lingering: list[Any] = []


def _values(study):
    """Return the bytes that occur in it, read in place."""
    return np.unique(study if isinstance(study, np.ndarray) else np.frombuffer(study.getbuffer(), np.uint8)).tolist()


def passes(json_input, files, digest):
    """Let it go."""
    return {"study_ml_json": {"seen": _values(files[0]), "size": len(files[0])}}, []


def keeps(json_input, files, digest):
    """Store every other study as a file, the others as an array, and report the bytes of all of them."""
    kept.append(files[0] if len(kept) % 2 else np.frombuffer(files[0].getbuffer(), np.uint8))
    return {"study_ml_json": {"seen": [_values(study) for study in kept]}}, []


def lingers(json_input, files, digest):
    """Read it once a file exists; report the bytes of each so far."""
    Path(json_input["begun"]).touch()
    while not Path(json_input["until"]).exists():
        time.sleep(0.01)
    lingering.append(_values(files[0]))
    return {"study_ml_json": {"seen": lingering}}, []


for model in (passes, keeps, lingers):
    app.add_inference_route(f"/{model.__name__}", model)
