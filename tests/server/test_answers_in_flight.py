"""An answer belongs to its request, also where its model writes the next one into the same memory, wherever it runs."""

import hashlib
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from requests_toolbelt import MultipartDecoder

from gateway.client import Client
from tests.apps.reusing import SIZE
from tests.conftest import Serve, Server
from tests.server.running import FORMS
from tests.server.test_faults import TYPE, body
from tests.studies.files import files
from tests.waiting import PATIENCE, eventually

ROUTES = ("same", "same_memory", "same_empty", "same_batch")


@pytest.fixture(scope="module", params=FORMS)
def server(request: pytest.FixtureRequest, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    store = str(tmp_path_factory.mktemp("reusing") / "store")
    found = serve("tests.apps.reusing:app", GATEWAY_MODEL_PROCESSES=FORMS[request.param], GATEWAY_STORE_FOLDER=store)
    eventually(lambda: requests.get(f"{found.url}/readyz", timeout=PATIENCE).status_code == 200)
    return found


@contextmanager
def unread(server: Server, route: str, fill: int) -> Iterator[HTTPResponse]:
    """An answer of which its reader has only the head: far more than its sockets hold is still with the gateway."""
    address, data = urlsplit(server.url), body(json.dumps({"fill": fill}).encode())
    head = f"POST /{route} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {TYPE}\r\nContent-Length: {len(data)}\r\n\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.settimeout(PATIENCE)
        client.connect((address.hostname, address.port))
        client.sendall(head.encode() + data)
        with HTTPResponse(client) as response:
            response.begin()
            yield response


def mask_of(content: bytes, content_type: str) -> bytes:
    """The mask of an answer whose hashes must be those of its bytes."""
    words, mask, hashes = (part.content for part in MultipartDecoder(content, content_type).parts)
    assert hashlib.sha256(words + mask).hexdigest() == hashes.decode().partition(":")[2]
    return mask


@pytest.mark.parametrize("route", ROUTES)
def test_a_slow_reader_gets_its_own_answer_though_the_next_is_written_over_it(server: Server, route: str) -> None:
    with unread(server, route, 1) as slow:
        data = body(json.dumps({"fill": 0}).encode())
        quick = requests.post(f"{server.url}/{route}", data=data, headers={"Content-Type": TYPE}, timeout=PATIENCE)
        assert mask_of(quick.content, quick.headers["Content-Type"]) == bytes(SIZE)
        assert mask_of(slow.read(), slow.headers["Content-Type"]) == b"\1" * SIZE


def test_each_answer_is_that_of_its_parameters_when_it_is_made_and_when_it_is_stored(
    server: Server, tmp_path: Path
) -> None:
    (sent,) = files(1)
    (tmp_path / "a.dcm").write_bytes(sent.data)
    client = Client(server.url)
    study = client.upload(tmp_path)

    def rows(count: int) -> int:
        (mask,) = client.infer(study, "/bound", {"rows": count}).findings
        return int(mask.array.any(axis=-1).sum())

    with ThreadPoolExecutor(4) as threads:
        for _ in range(2):  # the second time from the store
            assert list(threads.map(rows, range(1, 13))) == list(range(1, 13))
