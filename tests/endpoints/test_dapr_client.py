"""PyPI's dapr, unmodified and in an environment of its own, calls models of a real server over HTTP."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from gateway.testing import phantom_study
from tests.conftest import Serve, Server
from tests.house.pages import ROOT, blocks
from tests.require import require
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow

PACKAGE = "dapr==1.19.0"
EXAMPLE, _ = blocks(ROOT / "docs/dapr.md", "python")
FAULTS = """
import warnings
from dapr.clients import DaprClient
from dapr.clients.exceptions import DaprHttpError

with DaprClient() as client:
    print(client.invoke_method("dense", "openapi.json", b"", http_verb="GET").status_code)
    for app, path, body in (("dense", "dense", b"{}"), ("dense", "../dense", b"{}"), ("other", "dense", b"{}")):
        try:
            client.invoke_method(app, path, body, content_type="text/plain", http_verb="POST")
        except DaprHttpError as error:
            print(error.status_code, error.error_code)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dapr")
    (folder / "study").mkdir()
    phantom_study(folder / "study", slices=4, size=32)
    return folder


@pytest.fixture(scope="module")
def python(folder: Path) -> Iterator[Path]:
    """The interpreter of an environment with the client."""
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, capture_output=True)
    install = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "--retries", "1", PACKAGE]
    installed = subprocess.run(install, capture_output=True)
    require(installed.returncode == 0, f"{PACKAGE} can be installed from no package index here")
    yield folder / "venv/bin/python"
    shutil.rmtree(folder / "venv")


@pytest.fixture(scope="module")
def key(folder: Path) -> str:
    key = new_key()
    entry = CallerEntry(Caller("caller", frozenset({"infer"}), ("*",)), fingerprint(key))
    change(folder / "callers.json", lambda _: [entry])
    return key


@pytest.fixture(scope="module")
def server(serve: Serve, folder: Path, key: str) -> Server:
    return serve(
        "tests.apps.typed:app", GATEWAY_DAPR_APP_ID="dense", GATEWAY_API_KEYS_FILE=str(folder / "callers.json")
    )


def ran(python: Path, program: str, folder: Path, server: Server, token: str) -> "subprocess.CompletedProcess[str]":
    environ = os.environ | {
        "DAPR_HTTP_ENDPOINT": server.url,
        "DAPR_API_METHOD_INVOCATION_PROTOCOL": "http",
        "DAPR_API_TOKEN": token,
    }
    command = [python, "-W", "ignore", "-c", program]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=PATIENCE)


def test_the_example_of_the_page_runs(python: Path, folder: Path, server: Server, key: str) -> None:
    program = EXAMPLE.text.replace('"lungs", "lungs"', '"dense", "dense"').replace('"lungs", "v2', '"dense", "v2')
    output = ran(python, program, folder, server, key)
    assert output.returncode == 0, output.stderr
    answered, models = output.stdout.splitlines()
    media_type, size = answered.split()
    assert (media_type, int(size) > 4 * 32 * 32) == ("multipart/related", True)
    assert "dense" in models


def test_the_client_reads_our_faults(python: Path, folder: Path, server: Server, key: str) -> None:
    output = ran(python, FAULTS, folder, server, key)
    assert output.returncode == 0, output.stderr
    assert output.stdout.splitlines()[0] == "200"
    assert output.stdout.splitlines()[1:] == ["415 unsupported-media-type", "404 UNKNOWN", "404 UNKNOWN"]


def test_a_wrong_token_is_refused(python: Path, folder: Path, server: Server) -> None:
    output = ran(python, FAULTS, folder, server, "gw_wrong")
    assert "unauthenticated" in output.stderr
