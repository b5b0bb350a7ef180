"""Sessions under gunicorn: any worker takes their clicks, and they outlive the process of their model."""

import io
import os
import signal
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import requests
from pydicom import dcmread

from gateway import Client
from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from gateway.client.interactive_session import InteractiveSession
from gateway.dicom.samples import phantom
from tests.conftest import Serve, Server
from tests.executors.processes import below, wait_until_ready
from tests.house.pages import ROOT, blocks
from tests.waiting import PATIENCE, eventually

APP = "tests.apps.clicking:app"
HOST = "gateway.executors.host"
FORMS = ("application/dicom", "application/x-nifti", "application/zip", "image/png", "application/json")
Study = list[Path]


class Service(NamedTuple):
    """A server, and the keys of its callers; none where it authenticates nobody."""

    server: Server
    keys: dict[str, str]

    def client(self, name: str = "ann") -> Client:
        return Client(self.server.url, api_key=self.keys.get(name, ""))

    def ask(self, method: str, path: str, words: object = None, name: str = "ann") -> requests.Response:
        """A request on a connection of its own."""
        headers = {"Authorization": f"Bearer {self.keys[name]}"} if self.keys else {}
        return requests.request(method, self.server.url + path, json=words, headers=headers, timeout=PATIENCE)

    def send(self, session: InteractiveSession, words: dict[str, Any]) -> requests.Response:
        return self.ask("POST", f"/sessions/{session.id}/input", words)


@pytest.fixture(scope="module")
def inline(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A server of two workers with the model inside them, and two callers."""
    keys, path = {name: new_key() for name in ("ann", "bob")}, tmp_path_factory.mktemp("callers") / "callers.json"
    roles = frozenset(["infer", "read"])
    change(path, lambda _: [CallerEntry(Caller(name, roles, ("*",)), fingerprint(key)) for name, key in keys.items()])
    server = serve(APP, "--workers", "2", GATEWAY_API_KEYS_FILE=str(path))
    eventually(lambda: requests.get(f"{server.url}/readyz", timeout=PATIENCE).status_code == 200)
    return Service(server, keys)


@pytest.fixture(scope="module")
def hosted(serve: Serve) -> Service:
    """A server of two workers, with one process for each model."""
    server = serve(APP, "--workers", "2", "--model-processes", "1", MODELS="/paint /region-growing")
    wait_until_ready(server)
    return Service(server, {})


@pytest.fixture(params=["inline", "hosted"])
def service(request: pytest.FixtureRequest) -> Service:
    found: Service = request.getfixturevalue(request.param)
    return found


def click(*places: tuple[int, int, int]) -> dict[str, Any]:
    return {"points": [{"at": list(place)} for place in places]}


def refusal(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["type"].rpartition(":")[2]


def test_every_worker_takes_the_clicks_of_a_session(service: Service, study: Study) -> None:
    with service.client() as one, one.session(study, "/paint") as session:
        workers, places = set(), np.ndindex(8, 32, 32)

        def clicked() -> bool:
            response = service.send(session, click(next(places)))
            assert response.status_code == 200
            workers.add(response.headers["X-Worker"])
            return len(workers) == 2

        eventually(clicked)
        assert session.refresh().mask.sum() == next(places)[2]
        answers = [service.ask("POST", f"/sessions/{session.id}/finish").content for _ in range(6)]
        assert len(set(answers)) == 1
        assert session.finish().masks[0].sum() == session.mask.sum()


def test_every_worker_has_the_answer_in_the_form_that_is_accepted(hosted: Service, study: Study) -> None:
    with hosted.client().session(study, "/paint") as session:
        session.click((1, 2, 3))
        path = f"{hosted.server.url}/sessions/{session.id}/finish"
        for accept in FORMS:
            answers, workers = set[bytes](), set[str]()
            while len(workers) < 2:
                answer = requests.post(path, headers={"Accept": accept}, timeout=PATIENCE)
                assert answer.headers["Content-Type"] == accept
                answers.add(answer.content)
                workers.add(answer.headers["X-Worker"])
            assert len(answers) == 1
            if accept == "application/dicom":
                found = dcmread(io.BytesIO(answer.content))
                assert (found.Modality, np.count_nonzero(found.pixel_array)) == ("SEG", 1)
        assert requests.post(path, headers={"Accept": "text/html"}, timeout=PATIENCE).status_code == 406


def test_a_refusal_is_the_same_from_every_worker(service: Service, study: Study) -> None:
    with service.client() as one, one.session(study, "/paint") as session:
        for _ in range(8):
            assert refusal(service.send(session, click((9, 0, 0)))) == (422, "parameter-refused")
            assert refusal(service.ask("GET", f"/sessions/{session.id[:-4]}zzzz")) == (404, "session-gone")
    for _ in range(8):
        assert refusal(service.send(session, click((1, 1, 1)))) == (404, "session-gone")


def test_a_session_is_its_callers_own(inline: Service, study: Study) -> None:
    verbs = (("GET", ""), ("GET", "/region"), ("POST", "/input"), ("POST", "/finish"), ("DELETE", ""))
    with inline.client("ann") as ann, ann.session(study, "/paint") as session:
        for method, tail in verbs * 3:
            words = click((1, 1, 1)) if tail == "/input" else None
            response = inline.ask(method, f"/sessions/{session.id}{tail}", words, "bob")
            assert refusal(response) == (404, "session-gone")
        assert session.click((1, 1, 1)).mask.sum() == 1


def test_a_session_that_waits_lends_the_only_process_of_its_model(hosted: Service, study: Study) -> None:
    with hosted.client() as one, one.session(study, "/paint") as session, one.session(study, "/paint") as other:
        assert session.click((1, 1, 1)).mask.sum() == other.click((2, 2, 2)).mask.sum() == 1
        assert session.click((1, 1, 2)).mask.sum() == 2


@pytest.mark.parametrize(
    "seconds", [pytest.param(0.0, id="while it waits"), pytest.param(0.1, id="while it works", marks=pytest.mark.slow)]
)
def test_a_session_outlives_the_process_of_its_model(hosted: Service, study: Study, seconds: float) -> None:
    with hosted.client() as one, one.session(study, "/paint", {"seconds": 2 * seconds}) as session:
        session.click((1, 1, 1)).click((2, 2, 2))
        process = process_of("/paint", hosted.server)
        kill = threading.Timer(seconds, os.kill, [process, signal.SIGKILL])
        kill.start()
        if not seconds:
            kill.join()
        assert session.click((3, 3, 3)).mask.sum() == 3
        kill.join()
        eventually(lambda: process_of("/paint", hosted.server) not in (0, process))
        assert session.undo().finish().masks[0].sum() == 2


def test_a_request_for_a_worker_that_has_hung_is_refused(serve: Serve, study: Study) -> None:
    service = Service(serve(APP, "--workers", "2", GATEWAY_SESSION_SILENCE="1"), {})
    eventually(lambda: requests.get(f"{service.server.url}/readyz", timeout=PATIENCE).status_code == 200)
    files = [("file", (path.name, path.read_bytes())) for path in study]
    opened = requests.post(f"{service.server.url}/sessions?route=/paint", files=files, timeout=PATIENCE)
    worker, path = int(opened.headers["X-Worker"]), f"/sessions/{opened.json()['id']}"
    os.kill(worker, signal.SIGSTOP)
    try:
        assert refusal(service.ask("POST", f"{path}/input", click((1, 1, 1)))) == (503, "unavailable")
    finally:
        os.kill(worker, signal.SIGCONT)
    eventually(lambda: service.ask("GET", path).status_code == 200)


def process_of(route: str, server: Server) -> int:
    """The process of a model; 0 while it is started again."""
    found = [pid for pid in below(server.process.pid, HOST) if route in Path(f"/proc/{pid}/cmdline").read_text()]
    return found[0] if found else 0


def test_the_page_of_sessions_does_what_it_says(
    hosted: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantom.write(tmp_path / "study", slices=16, size=512)
    monkeypatch.chdir(tmp_path)
    for block in blocks(ROOT / "docs/sessions.md", "python"):
        exec(block.text.replace("127.0.0.1:8900", f"127.0.0.1:{hosted.server.port}"), {})
    assert list((tmp_path / "answer").glob("*.nii.gz"))


def test_a_worker_takes_its_sessions_with_it(inline: Service, study: Study) -> None:
    with inline.client() as one:
        session = one.session(study, "/paint")
        for worker in below(inline.server.process.pid):
            os.kill(worker, signal.SIGKILL)
        assert eventually(lambda: _answer(inline, session)) == (404, "session-gone")


def _answer(service: Service, session: InteractiveSession) -> tuple[int, str] | None:
    try:
        return refusal(service.send(session, click((1, 1, 1))))
    except requests.ConnectionError:
        return None


def test_an_input_at_work_is_answered_while_the_server_stops(inline: Service, study: Study) -> None:
    """The last test of this server."""
    with inline.client() as one:
        session = one.session(study, "/paint", {"seconds": 1.0})
        threading.Timer(0.3, inline.server.process.send_signal, [signal.SIGTERM]).start()
        assert session.click((1, 1, 1)).mask.sum() == 1
    assert inline.server.process.wait(PATIENCE) == 0
