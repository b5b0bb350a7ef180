"""Events of a run in a browser's ``EventSource``: it connects again by itself, misses nothing, and stops at the end."""

import json
import signal
from pathlib import Path

import pytest
import requests

from tests.conftest import Serve
from tests.endpoints.browser import CHROMIUM, browsing
from tests.require import require
from tests.server.test_faults import TYPE, body
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

WATCH = """
window.told = []; window.opened = 0;
window.source = new EventSource(%s);
source.addEventListener("open", () => opened++);
for (const kind of ["state", "progress", "log"])
  source.addEventListener(kind, event => told.push([Number(event.lastEventId), event.type, event.data]));
0
"""


def test_an_event_source_whose_stream_is_cut_connects_again_and_misses_nothing(serve: Serve, tmp_path: Path) -> None:
    require(CHROMIUM, "chromium is not installed")
    (notes := tmp_path / "notes").mkdir()
    environment = {"GATEWAY_STORE_FOLDER": str(tmp_path / "store"), "TEST_NOTES": str(notes)}
    server = serve("tests.apps.durable:app", "--threads", "4", **environment)
    eventually(lambda: requests.get(f"{server.url}/readyz", timeout=PATIENCE).status_code == 200)
    sent = {"data": body(b'{"name": "one"}'), "headers": {"Content-Type": TYPE}, "timeout": PATIENCE}
    id = requests.post(f"{server.url}/runs?route=/told", **sent).json()["id"]
    with browsing(tmp_path / "profile") as page:
        page.go(f"{server.url}/docs")
        page.wait("#model", "/told")
        page.run(WATCH % json.dumps(f"/runs/{id}/events"))
        eventually(lambda: page.run("told.some(event => event[1] === 'progress')"))
        server.process.send_signal(signal.SIGHUP)  # another worker replaces the one that serves the stream
        eventually(lambda: page.run("opened") >= 2)
        (notes / "go one").touch()
        eventually(lambda: page.run("source.readyState") == 2)
        told = page.run("told")
    numbers = [number for number, _, _ in told]
    assert numbers == sorted(set(numbers))
    assert json.loads(told[-1][2])["state"] == "finished"
    lines = requests.get(f"{server.url}/runs/{id}/events", timeout=PATIENCE).text.splitlines()
    assert {int(line[4:]) for line in lines if line.startswith("id: ")} <= set(numbers)
