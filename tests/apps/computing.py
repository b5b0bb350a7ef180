"""A service for clients of Backend.AI's API: models that answer, ask, log, wait, refuse and fail."""

import time

import numpy as np

from gateway import Ask, Classification, Gateway, Interactive, Mask, Preview, Progress, Volume
from gateway.contract.requests import current_request
from tests.apps.durable import asks, fails, quick, refuses


def told(json_input, files, digest):
    """Log a line, report, and end when it is cancelled, or once some seconds are over."""
    request = current_request()
    request.log("a line")
    request.progress(1, 2, "half")
    until = time.monotonic() + json_input.get("seconds", 0)
    while time.monotonic() < until:
        request.progress(1, 2, "half")  # raises Cancelled
        time.sleep(0.01)
    return {"study_ml_json": {"ended": True}}, []


def bright(volume: Volume, threshold: float = 100.0) -> tuple[Classification, Mask]:
    """Mark what is above a threshold."""
    mask = volume.array > threshold
    return Classification({"part": float(np.mean(mask))}), Mask(mask)


def named(json_input, files, digest):
    """Ask for a name and for a password."""
    request = current_request()
    name = request.ask({"question": "Your name?", "kind": "text"})["answer"]
    word = request.ask({"question": "Password?", "kind": "password"})["answer"]
    return {"study_ml_json": {"name": name, "letters": len(word)}}, []


def choosing(json_input, files, digest):
    """Ask for an organ."""
    question = {"question": "Which?", "kind": "choice", "choices": ["liver", "spleen"]}
    return {"study_ml_json": {"organ": current_request().ask(question)["answer"]}}, []


def located(volume: Volume) -> Interactive[Classification]:
    """Show a picture, and ask for a point and a choice."""
    yield Progress(1, 2, "looking")
    yield Preview(np.zeros((4, 4), np.uint8), "a picture")
    point = yield Ask("Where?", kind="point")
    organ = yield Ask("Which?", kind="choice", choices=("liver", "spleen"))
    return Classification({organ: point.row / 100})


app = Gateway(__name__)
for model in (quick, told, asks, named, choosing, refuses, fails):
    app.add_inference_route(f"/{model.__name__}", model)
app.model("/bright", version="1.2")(bright)
app.model("/located")(located)
