"""A service whose models keep what they were sent, use it late, or let it go; served by the tests under gunicorn."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from gateway import Gateway

app = Gateway(__name__)
kept: list[Any] = []
lingering: list[Any] = []


def _values(study):
    """Which bytes occur in it, where it lies."""
    return np.unique(study if isinstance(study, np.ndarray) else np.frombuffer(study.getbuffer(), np.uint8)).tolist()


def passes(json_input, files, digest):
    """Let it go."""
    return {"study_ml_json": {"seen": _values(files[0]), "size": len(files[0])}}, []


def keeps(json_input, files, digest):
    """Keep every other study as a file, the others as an array, and say what is in all of them."""
    kept.append(files[0] if len(kept) % 2 else np.frombuffer(files[0].getbuffer(), np.uint8))
    return {"study_ml_json": {"seen": [_values(one) for one in kept]}}, []


def lingers(json_input, files, digest):
    """Look at it once a file is there; say what was in each so far."""
    Path(json_input["begun"]).touch()
    while not Path(json_input["until"]).exists():
        time.sleep(0.01)
    lingering.append(_values(files[0]))
    return {"study_ml_json": {"seen": lingering}}, []


for model in (passes, keeps, lingers):
    app.add_inference_route(f"/{model.__name__}", model)
