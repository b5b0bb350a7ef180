"""A handler reads exactly the uploaded bytes, however they are sent, and a killed worker leaves nothing."""

import contextlib
import hashlib
import json
import os
import random
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from requests_toolbelt import MultipartDecoder

from tests.conftest import Serve, Server
from tests.server.test_faults import TYPE, assert_serves, body
from tests.waiting import PATIENCE, eventually

CONNECTIONS = 32


def upload(server: Server, seed: int, count: int) -> int:
    """Send random parts in random pieces on one connection; return how many digests differ."""
    rng = random.Random(seed)
    parts = [rng.randbytes(rng.choice((0, 1, 100, 5_000, 70_000))) for _ in range(count)]
    data = body(b"{}", *parts)
    head = f"POST /digests HTTP/1.1\r\nHost: localhost\r\nContent-Type: {TYPE}\r\nContent-Length: {len(data)}\r\n\r\n"
    address = urlsplit(server.url)
    while True:
        with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as client:
            rest = memoryview(head.encode() + data)
            while rest:
                size = rng.choice((1, 17, 1_400, 65_536, 1 << 20))
                client.sendall(rest[:size])
                rest = rest[size:]
            status, answer = _answer(client)
        if status == 200:
            break
        assert status == 503
        time.sleep(0.1)  # more connections than places
    found = json.loads(answer)["study_ml_json"]["digests"]
    return sum(a != hashlib.sha256(b).hexdigest() for a, b in zip(found, parts, strict=True))


def _answer(client: socket.socket) -> tuple[int, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(65536)
    head, _, content = received.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    while len(content) < length:
        content += client.recv(1 << 20)
    status = int(head.split()[1])
    if status != 200:
        return status, content
    kind = re.search(rb"(?i)content-type: ([^\r]+)", head)[1].decode()
    return status, MultipartDecoder(content, kind).parts[0].content


@pytest.mark.parametrize("total", [4_000, pytest.param(100_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("threshold", [10_000, 1 << 30])
@pytest.mark.slow
def test_no_part_is_changed_over_many_connections(serve: Serve, threshold: int, total: int) -> None:
    server = serve("tests.apps.faults:app", "--workers", "2", GATEWAY_SPOOL_THRESHOLD=str(threshold))
    each = 50
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        differing = list(pool.map(lambda seed: upload(server, seed, each), range(total // each)))
    assert sum(differing) == 0
    assert len(differing) * each == total


def test_a_worker_killed_in_the_middle_of_an_upload_leaves_no_file_and_is_replaced(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve("tests.apps.faults:app", GATEWAY_SPOOL_THRESHOLD="1000", GATEWAY_SPOOL_FOLDER=str(tmp_path))
    address = urlsplit(server.url)
    worker = int(re.findall(r"Booting worker with pid: (\d+)", server.log)[0])
    with socket.create_connection((address.hostname, address.port)) as client:
        head = f"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: {TYPE}\r\nContent-Length: 10000000\r\n\r\n"
        client.sendall(head.encode() + body(b"{}", bytes(1_000_000))[:-20])
        eventually(lambda: _spools(worker, tmp_path))
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: server.log.count("Booting worker") == 2)
    assert_serves(server)
    assert list(tmp_path.iterdir()) == []


def _spools(pid: int, folder: Path) -> bool:
    """Whether a process has a file of this folder open, which may have no name."""
    with contextlib.suppress(OSError):
        return any(str(folder) in str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


def test_the_digest_may_be_blake3_and_the_answer_names_it(serve: Serve) -> None:
    blake3 = pytest.importorskip("blake3").blake3
    server = serve("tests.apps.faults:app", GATEWAY_DIGEST="blake3")
    response = requests.post(
        server.url + "/echo", data=body(b"{}", b"abc"), headers={"Content-Type": TYPE}, timeout=PATIENCE
    )
    decoded = MultipartDecoder.from_response(response)
    assert response.headers["X-Digest-Algorithm"] == "blake3"
    output = blake3(decoded.parts[0].content).hexdigest()
    assert decoded.parts[-1].text == f"{blake3(b'{}abc').hexdigest()}:{output}"
