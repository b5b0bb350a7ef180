"""Helpers of the tests of running models: a server of a few of them in either form, and a view of its processes."""

import contextlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from requests_toolbelt import MultipartDecoder

from tests.conftest import Server
from tests.server.test_faults import TYPE, body
from tests.waiting import PATIENCE, eventually

FORMS = {"inline": "0", "process": "1"}
"""The number of model processes in each form of running models."""
RAY = pytest.param("ray", marks=pytest.mark.slow)
ALL_FORMS = [*FORMS, RAY]
"""Those, and actors of a Ray cluster that each server starts for itself."""
MOSTLY_PROCESS = [pytest.param("inline", marks=pytest.mark.slow), "process"]
"""For what takes seconds in each form."""
IN_FLIGHT = "gateway_requests_in_flight "


@dataclass
class Running:
    """A server whose models write notes, and its processes."""

    server: Server
    notes: Path
    mark: str
    form: str

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def master(self) -> int:
        return self.server.process.pid

    def ask(
        self, route: str, json_input: object = None, *files: bytes, timeout: float = PATIENCE, **headers: str
    ) -> requests.Response:
        """Send a request over a connection of its own, so that any worker may answer."""
        data = body(json.dumps(json_input or {}).encode(), *files)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Content-Type": TYPE, "Connection": "close", **named}
        return requests.post(f"{self.url}/{route}", data=data, headers=sent, timeout=timeout)

    def told(self, route: str, json_input: object = None, *files: bytes, **headers: str) -> dict[str, Any]:
        """The answer of a plain model."""
        return told(self.ask(route, json_input, *files, **headers))

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, headers={"Connection": "close"}, timeout=PATIENCE)

    def health(self, route: str) -> dict[str, Any]:
        health: dict[str, Any] = self.get("/readyz").json()["models"][f"/{route}"]
        return health

    def is_ready(self) -> bool:
        return self.get("/readyz").status_code == 200

    def not_ready(self) -> dict[str, Any]:
        """The models' health where the server is not ready; empty where it is."""
        answer = self.get("/readyz")
        return answer.json()["models"] if answer.status_code == 503 else {}

    def order(self, name: str, text: str = "now") -> None:
        """Set a text for the models to find; no text removes it."""
        (self.notes / name).write_text(text)

    def noted(self, name: str, text: str | None = None) -> list[int]:
        """The processes that wrote a note of this name, and of this text, if any."""
        with contextlib.suppress(FileNotFoundError):
            lines = [line.partition(" ") for line in (self.notes / name).read_text().splitlines()]
            return [int(pid) for pid, _, noted in lines if text is None or noted == text]
        return []

    def family(self, module: str = "") -> set[int]:
        """The server's processes: all live ones of its session or with its mark, and that run ``module``, if any."""
        pids = (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal())
        mine = {pid for pid in pids if _session(pid) == self.master or self._marked(pid)}
        return {pid for pid in mine if module in _read(pid, "cmdline")}

    def _marked(self, pid: int) -> bool:
        return f"RUNNING_TEST_MARK={self.mark}" in _read(pid, "environ").split("\0")

    @property
    def supervisor(self) -> int:
        (pid,) = self.family("gateway.executors.supervisor")
        return pid

    def hosts(self, route: str) -> set[int]:
        """The processes of one model."""
        if self.form == "ray":
            title = f"ray::Replica/{route}"  # then a dot and the method that began last, until it is over
            return {pid for pid in self.family(title) if _read(pid, "cmdline").rstrip("\0 ").partition(".")[0] == title}
        return {pid for pid in self.family("gateway.executors.host") if _read(pid, "cmdline").endswith(f"/{route}\0")}

    def connected_actors(self) -> int:
        """The number of actors whose bytes go by the channel of the bridge and not by Ray."""
        (bridge,) = self.family("gateway.executors.ray.bridge")
        sockets = set()
        for file in Path(f"/proc/{bridge}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it has just been closed
                sockets.add(str(file.readlink()))
        lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
        return sum(f"socket:[{line[6]}]" in sockets and line[-1].startswith("@gateway-") for line in lines)

    @property
    def workers(self) -> set[int]:
        command = _read(self.master, "cmdline")
        return {pid for pid in self.family() if _parent(pid) == self.master and _read(pid, "cmdline") == command}

    def views(self, path: str = "/readyz") -> dict[int, requests.Response]:
        """The state of each HTTP worker: so many connections at once that each worker gets some."""
        count = 4 * len(self.workers)

        def ask(_: int) -> requests.Response:
            return self.get(path)

        def look() -> dict[int, requests.Response]:
            views = {int(answer.headers["X-Worker"]): answer for answer in threads.map(ask, range(count))}
            return views if len(views) >= len(self.workers) else {}

        with ThreadPoolExecutor(count) as threads:
            return eventually(look)


Start = Callable[..., Running]
"""A server of the models named, in one of the FORMS: the fixture ``start``."""


def told(response: requests.Response) -> dict[str, Any]:
    """The words of a plain model's answer."""
    assert response.status_code == 200, response.text
    members: dict[str, Any] = json.loads(MultipartDecoder.from_response(response).parts[0].text)["study_ml_json"]
    return members


def problem(response: requests.Response, status: int, code: str) -> dict[str, Any]:
    """The problem that a request was answered with, which must be this one."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["type"] == f"urn:gateway:problem:{code}"
    return body


def _read(pid: int, name: str) -> str:
    try:
        return Path("/proc", str(pid), name).read_text(errors="replace")
    except OSError:
        return ""


def _parent(pid: int) -> int:
    return _stat(pid, 1)


def _session(pid: int) -> int:
    return _stat(pid, 3)


def _stat(pid: int, field: int) -> int:
    """Return a number of proc_pid_stat(5), counted from the state; 0 for a process that is gone or a zombie."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return int(fields[field]) if fields and fields[0] != "Z" else 0


def in_flight(url: str) -> int:
    """How many inference requests a server has let in and not answered yet."""
    metrics = requests.get(url + "/metrics", timeout=PATIENCE).text
    return round(sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(IN_FLIGHT)))


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return bool(fields) and fields[0] != "Z"
