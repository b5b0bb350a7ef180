"""Models that write each answer into memory that they have returned before."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gateway import Batch, Execution, Gateway, Image, Mask, current_request

SIZE = 12_000_000
"""Bytes of a mask: more than the sockets between a server and a slow client hold."""

kept = np.zeros(SIZE, np.uint8)
batch = np.zeros((4, SIZE), np.uint8)
first: list[Any] = []

PARTS = [{"binary_type": "boolean_mask", "binary_data_shape": {"height": 1, "width": SIZE}}]
ANSWER = {"protocol_version": "1.0", "parts": PARTS}


def same(json_input: dict[str, Any], files: Sequence[Any], digest: str) -> Any:
    kept[:] = json_input["fill"]
    return ANSWER, [kept]


def same_memory(json_input: dict[str, Any], files: Sequence[Any], digest: str) -> Any:
    kept[:] = json_input["fill"]
    return ANSWER, [memoryview(kept)]


def same_empty(json_input: dict[str, Any], files: Sequence[Any], digest: str) -> Any:
    """Keep the array of the first request's ``empty`` for all others."""
    if not first:
        first.append(current_request().empty((SIZE,), np.uint8))
    first[0][:] = json_input["fill"]
    return ANSWER, [first[0]]


def same_batch(json_inputs: Sequence[dict[str, Any]], files: Sequence[Any], digests: Sequence[str]) -> Any:
    for row, members in zip(batch, json_inputs, strict=False):
        row[:] = members["fill"]
    return [(ANSWER, [row]) for row, _ in zip(batch, json_inputs, strict=False)]


app = Gateway(__name__)
ONE = Execution(concurrency=1)
app.add_inference_route("/same", same, execution=ONE)
app.add_inference_route("/same_memory", same_memory, execution=ONE)
app.add_inference_route("/same_empty", same_empty, execution=ONE)
app.add_inference_route("/same_batch", same_batch, execution=Execution(batch=Batch(4), concurrency=1))


@app.model("/bound", version="1", deterministic=True, execution=Execution(concurrency=1, warm_up=False))
class Bound:
    """A mask in a buffer that is bound once, as sessions of inference engines have it."""

    def __init__(self) -> None:
        self.out: Any = None

    def predict(self, image: Image, rows: int) -> Mask:
        if self.out is None:
            self.out = np.zeros(image.array.shape, bool)
        self.out[:rows], self.out[rows:] = True, False
        return Mask(self.out, label="Upper rows")
