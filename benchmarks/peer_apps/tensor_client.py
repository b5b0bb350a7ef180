"""Times requests by PyPI's tritonclient, and a multipart request of the same bytes by its connection pool.

Reads a line for each request, ``http PORT MODEL OUTPUT``, ``grpc PORT MODEL OUTPUT`` or ``multipart PORT PATH``, and
prints its seconds.
"""

import json
import sys
import time
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http
from geventhttpclient import HTTPClient

SHAPE = tuple(map(int, sys.argv[1:4]))
ARRAY = np.random.default_rng(1).normal(0, 1, SHAPE).astype(np.float32)
WANTED = int((ARRAY > 0).sum())
SECONDS = 300.0
clients: dict[str, Any] = {}


def http(port: str, model: str, output: str) -> int:
    """Return the voxels of the mask, over HTTP with the binary tensor extension."""
    if port not in clients:
        clients[port] = tritonclient.http.InferenceServerClient(
            f"127.0.0.1:{port}", network_timeout=SECONDS, connection_timeout=SECONDS
        )
    volume = tritonclient.http.InferInput("volume", ARRAY.shape, "FP32")
    wanted = tritonclient.http.InferRequestedOutput(output, binary_data=True)
    volume.set_data_from_numpy(ARRAY)
    return int(np.count_nonzero(clients[port].infer(model, [volume], outputs=[wanted]).as_numpy(output)))


def grpc(port: str, model: str, output: str) -> int:
    """Return the voxels of the mask, over gRPC."""
    if port not in clients:
        clients[port] = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}")
    volume = tritonclient.grpc.InferInput("volume", ARRAY.shape, "FP32")
    volume.set_data_from_numpy(ARRAY)
    return int(np.count_nonzero(clients[port].infer(model, [volume]).as_numpy(output)))


def multipart(port: str, path: str) -> int:
    """Return the voxels of the mask, which is a part of its own."""
    if path not in clients:
        clients[path] = HTTPClient("127.0.0.1", int(port), network_timeout=SECONDS, connection_timeout=SECONDS)
    head = b"--b\r\nContent-Type: application/json\r\n\r\n" + json.dumps({"shape": SHAPE}).encode()
    parts = head, b"\r\n--b\r\nContent-Type: application/octet-stream\r\n\r\n", ARRAY.tobytes(), b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/related; boundary=b"}
    response = clients[path].post(path, body=b"".join(parts), headers=headers)
    body = response.read()
    assert response.status_code == 200, body[:500]
    first = body.index(b"\r\n\r\n", body.index(b"\r\n\r\n") + 4) + 4  # behind the heads of the JSON and of the mask
    return int(np.count_nonzero(np.frombuffer(body, np.uint8, ARRAY.size, first)))


for line in sys.stdin:
    kind, *words = line.split()
    started = time.perf_counter()
    found = {"http": http, "grpc": grpc, "multipart": multipart}[kind](*words)
    seconds = time.perf_counter() - started
    if found != WANTED:
        raise SystemExit(f"{found} voxels, not {WANTED}")
    sys.stdout.write(f"{seconds}\n")
    sys.stdout.flush()
