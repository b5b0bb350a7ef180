"""A client of nnInteractive's protocol for tests, over WSGI or a connection for each request."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.protocol.nninteractive.packed_arrays import pack
from tests.protocol.test_packed_arrays import read


class Reply(NamedTuple):
    """A response: status, headers, body."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> tuple[int, str]:
        """Status and code of a refusal."""
        return self.status, self.json["type"].rpartition(":")[2]


Send = Callable[[str, str, bytes, dict[str, str]], Reply]
"""Sends method, path, body and headers."""


class Lease:
    """A lease and the buffer of its client, which is patched as nnInteractive's client patches its own."""

    def __init__(self, send: Send, *, claim: bool = True) -> None:
        self._send = send
        self.buffer = np.zeros((0, 0, 0), np.uint8)
        self.token = self.ask("/claim").json["lease_token"] if claim else ""

    def ask(self, path: str, words: Any = None, *, array: Any = None, method: str = "POST", **headers: str) -> Reply:
        """Return the response to words in JSON, or beside an array, packed or as bytes."""
        sent = {"X-Lease-Token": self.token} if getattr(self, "token", "") else {}
        if array is None:
            sent |= {} if words is None else {"Content-Type": "application/json"}
            body = b"" if words is None else json.dumps(words).encode()
        else:
            sent |= {"Content-Type": "application/octet-stream", "X-Meta": json.dumps(words or {})}
            body = array if isinstance(array, bytes) else pack(array)
        return self._send(method, f"/nninteractive{path}", body, sent | headers)

    def set_image(self, shape: tuple[int, int, int] = (4, 10, 12), **properties: Any) -> Reply:
        """Set an image of float32 that is 100 in its middle, and a buffer beside it."""
        image = np.zeros((1, *shape), np.float32)
        image[:, 1:-1, 2:-2, 2:-2] = 100
        stated = {"spacing": [3.0, 1.0, 1.0]} | properties
        reply = self.ask("/set_image", {"image_properties": stated}, array=image)
        if reply.status == 200:
            self.set_buffer(shape)
        return reply

    def set_buffer(self, shape: tuple[int, ...], dtype: str = "uint8") -> Reply:
        self.buffer = np.zeros(shape, dtype)
        return self.ask("/set_target_buffer", {"shape": list(shape), "dtype": dtype})

    def point(self, *place: float, positive: bool = True, run: bool = True) -> Reply:
        words = {"coordinates": place, "include_interaction": positive, "run_prediction": run}
        return self.applied(self.ask("/add_point_interaction", words))

    def mark(self, kind: str, mask: NDArray[Any], box: Any = None, *, positive: bool = True) -> Reply:
        words = {"include_interaction": positive, "run_prediction": True, "interaction_bbox": box}
        return self.applied(self.ask(f"/add_{kind}_interaction", words, array=mask))

    def undo(self) -> bool:
        reply = self.applied(self.ask("/undo", {}))
        return bool(json.loads(reply.headers["X-Meta"])["ran_prediction"])

    def reset(self) -> Reply:
        self.buffer[:] = 0
        return self.ask("/reset_interactions", {})

    def applied(self, reply: Reply) -> Reply:
        """Write what a response has into the buffer."""
        meta = json.loads(reply.headers.get("X-Meta", "{}"))
        if reply.status == 200 and meta["bbox"] is not None:
            values = read(reply.body)
            assert values.dtype == self.buffer.dtype
            self.buffer[tuple(slice(*pair) for pair in meta["bbox"])] = values
        return reply

    @property
    def marked(self) -> list[tuple[int, ...]]:
        """The voxels of the region."""
        return [tuple(place) for place in np.argwhere(self.buffer).tolist()]
