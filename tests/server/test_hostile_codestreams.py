"""Files that crash a codec are refused one by one; neighbours are answered, and nothing dies but a decoding process."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest
import requests

from tests.conftest import Serve, Server
from tests.waiting import PATIENCE

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
GOOD = (SHIPPED / "MR_small_jp2klossless.dcm").read_bytes()
HOSTILE = 6
"""Twice as many as deaths of a model process that open its breaker."""


def crashing() -> bytes:
    """A JPEG Lossless image that aborts GDCM by one byte of its Huffman tables."""
    pytest.importorskip("gdcm")
    data = bytearray((SHIPPED / "SC_rgb_jpeg_gdcm.dcm").read_bytes())
    data[1374] = 0
    return bytes(data)


def post(server: Server, file: bytes, words: str = "{}") -> requests.Response:
    parts = {"json": (None, words, "application/json"), "file": ("a.dcm", io.BytesIO(file), "application/dicom")}
    prepared = requests.Request("POST", f"{server.url}/images", files=parts).prepare()
    prepared.headers["Content-Type"] = prepared.headers["Content-Type"].replace("form-data", "related")
    with requests.Session() as session:
        return session.send(prepared, timeout=PATIENCE)


@pytest.mark.parametrize(
    "options", [(), pytest.param(("--model-processes", "1"), marks=pytest.mark.slow)], ids=["inline", "model process"]
)
def test_a_file_that_crashes_a_codec_is_refused_and_no_other_request_is_affected(
    serve: Serve, options: tuple[str, ...]
) -> None:
    server = serve("tests.apps.typed:app", "--workers", "1", *options, GATEWAY_BREAKER_COOLDOWN="3600")
    with ThreadPoolExecutor(2) as threads:
        neighbours = [threads.submit(post, server, GOOD, '{"seconds": 1}') for _ in range(2)]
        refused = [post(server, crashing()) for _ in range(HOSTILE)]
        assert [one.result().status_code for one in neighbours] == [200, 200]
    assert {(one.status_code, one.json()["type"]) for one in refused} == {(422, "urn:gateway:problem:study-refused")}
    assert "sha256 begins with" in refused[0].json()["detail"] and "JPEG Lossless" in refused[0].json()["detail"]
    assert post(server, GOOD).status_code == 200
    assert server.log.count("Booting worker") == 1
    models = requests.get(f"{server.url}/readyz", timeout=PATIENCE).json()["models"]
    assert not any(model.get("restarts") for model in models.values())
