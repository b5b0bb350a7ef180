"""Prometheus with docs/prometheus.yml reads the metrics of a gateway that wants a key."""

import json
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from tests.conftest import Serve
from tests.dimse.test_dimse_process import Network
from tests.house.pages import ROOT
from tests.ports import free_port
from tests.require import require
from tests.waiting import PATIENCE, eventually

MISSING = "the check of the scrape needs promtool and prometheus, from Debian's prometheus"


def configuration(folder: Path, key: str, target: str, network: str) -> Path:
    """The page's configuration in a folder, with its rules, and the key and the targets of the test."""
    shutil.copy(ROOT / "docs" / "alerts.yml", folder)
    (folder / "gateway.key").write_text(key)
    text = (ROOT / "docs" / "prometheus.yml").read_text(encoding="utf-8")
    places = {
        "/etc/prometheus/gateway.key": str(folder / "gateway.key"),
        "gateway:8900": target,
        "gateway:9101": network,
        "15s": "1s",
    }
    for name, place in places.items():
        assert text.count(name) == 1
        text = text.replace(name, place)
    (folder / "prometheus.yml").write_text(text)
    return folder / "prometheus.yml"


@contextmanager
def prometheus(file: Path) -> Iterator[str]:
    """A running Prometheus; its URL."""
    address = f"127.0.0.1:{free_port()}"
    options = (
        f"--config.file={file}",
        f"--storage.tsdb.path={file.parent / 'data'}",
        f"--web.listen-address={address}",
    )
    with (file.parent / "log").open("wb") as log:
        process = subprocess.Popen(["prometheus", *options], stdout=log, stderr=log)
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def value(url: str, query: str) -> str:
    """The value of a query; "" without any, or while Prometheus starts."""
    try:
        answer = requests.get(f"{url}/api/v1/query?query={urllib.parse.quote(query)}", timeout=PATIENCE).text
        return str(json.loads(answer)["data"]["result"][0]["value"][1])
    except (requests.ConnectionError, ValueError, LookupError):
        return ""


@pytest.mark.slow
def test_prometheus_takes_the_configuration_and_reads_the_metrics_by_its_key(serve: Serve, tmp_path: Path) -> None:
    require(shutil.which("promtool") and shutil.which("prometheus"), MISSING)
    key, callers = new_key(), tmp_path / "callers.json"
    change(callers, lambda _: [CallerEntry(Caller("prometheus", frozenset()), fingerprint(key))])
    server = serve("models.app:app", GATEWAY_API_KEYS_FILE=str(callers))
    assert requests.get(f"{server.url}/metrics", timeout=PATIENCE).status_code == 401

    port = free_port()
    network = Network(tmp_path, "--metrics-port", str(port))
    file = configuration(tmp_path, key, server.url.removeprefix("http://"), f"127.0.0.1:{port}")
    checked = subprocess.run(["promtool", "check", "config", str(file)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    with prometheus(file) as url:
        eventually(lambda: value(url, 'up{job="gateway"}') == "1")
        assert value(url, 'gateway_requests_in_flight{job="gateway"}') == "0"
        eventually(lambda: value(url, 'up{job="gateway-dimse"}') == "1")
        assert value(url, 'gateway_dimse_associations_in_flight{job="gateway-dimse"}') == "0"
    network.kill()
