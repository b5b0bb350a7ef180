"""Health is true and never waits: every worker reports the same state, whatever the models do."""

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import pytest
import requests

from tests.server.running import ALL_FORMS, Running, Start, told
from tests.waiting import PATIENCE, eventually

WORKERS = 4
PROBES = ("/livez", "/readyz", "/startupz", "/healthcheck", "/ping")


@pytest.fixture(scope="module", params=ALL_FORMS)
def server(request: pytest.FixtureRequest, start: Start) -> Running:
    limits = {"GATEWAY_CANCEL_GRACE": "0.3", "GATEWAY_BREAKER_COOLDOWN": "1"}
    return start(request.param, "one", "--workers", str(WORKERS), "--threads", "6", **limits)


def said(server: Running, path: str) -> set[tuple[int, str]]:
    """The common status and state of the workers."""
    return {(answer.status_code, _word(answer)) for answer in server.views(path).values()}


def _word(answer: requests.Response) -> str:
    return str(answer.json()["status"]) if answer.headers["Content-Type"] == "application/json" else answer.text


@pytest.mark.parametrize("form", ALL_FORMS)
def test_all_workers_report_starting_until_every_model_is_set_up_and_warm_and_then_ready(
    start: Start, form: str
) -> None:
    server = start(form, "slow", ready=False)  # its setup waits for the order
    eventually(lambda: len(server.workers) == 2)
    assert said(server, "/livez") == {(200, "ok")}
    assert said(server, "/readyz") == said(server, "/startupz") == {(503, "starting")}
    assert said(server, "/healthcheck") == {(200, "STARTING")}
    assert server.health("slow")["reason"]
    assert server.noted("setup") == []
    server.order("go")
    eventually(server.is_ready)
    assert said(server, "/readyz") == said(server, "/startupz") == {(200, "ready")}
    assert said(server, "/healthcheck") == {(200, "READY")}
    assert len(server.noted("setup")) == (2 if form == "inline" else 1)


@pytest.mark.slow
def test_all_workers_report_a_hung_call_within_a_second_of_each_other_and_probes_never_wait(
    server: Running,
) -> None:
    apart = [_seconds_apart_of_a_hung_call(server)]
    while max(apart[-1]) > 1 and len(apart) < 4:  # a busy machine sets them apart now and then, and not each time
        apart.append(_seconds_apart_of_a_hung_call(server))
    assert max(apart[-1]) <= 1, apart
    assert said(server, "/healthcheck") == {(200, "READY")}
    told(server.ask("one"))


def _seconds_apart_of_a_hung_call(server: Running) -> tuple[float, float]:
    """How far the workers are apart in telling that they are not ready, and that they are again."""
    eventually(server.is_ready)
    sessions = [_session(server, worker) for worker in server.workers]
    server.order("over", "")
    server.order("wait to start")  # so that a process that takes the place of a hung one takes its time
    before = len(server.noted("began"))

    def hang() -> bool:
        assert server.ask("one", {"until": "over"}, X_Request_Timeout="0.5").status_code == 504
        return len(server.noted("began")) > before

    with ThreadPoolExecutor(WORKERS + 1) as threads:
        hung = threads.submit(eventually, hang)
        fell = list(threads.map(_when, sessions, repeat(503), repeat(server.url)))
        hung.result()
        for path in PROBES:
            assert server.get(path).status_code in (200, 503)
        assert said(server, "/livez") == {(200, "ok")}
        assert {status for status, _ in said(server, "/startupz")} == {200}  # that is over, whatever comes
        server.order("over")
        server.order("wait to start", "")
        rose = list(threads.map(_when, sessions, repeat(200), repeat(server.url)))
    for session in sessions:
        session.close()
    return max(fell) - min(fell), max(rose) - min(rose)


def _session(server: Running, worker: int) -> requests.Session:
    """A connection that stays with one of the workers."""
    while True:
        session = requests.Session()
        if int(session.get(server.url + "/livez", timeout=PATIENCE).headers["X-Worker"]) == worker:
            return session
        session.close()


def _when(session: requests.Session, status: int, url: str) -> float:
    """The time at which a worker first answered ``/readyz`` with this status."""
    return eventually(lambda: session.get(url + "/readyz", timeout=PATIENCE).status_code == status and time.monotonic())


def test_probes_answer_while_every_thread_that_a_model_can_have_hangs(server: Running) -> None:
    server.order("end", "")
    with ThreadPoolExecutor(40) as threads:
        asked = [threads.submit(server.ask, "one", {"until": "end"}) for _ in range(40)]
        eventually(lambda: sum(one.done() for one in asked) >= 40 - 4 * WORKERS)  # no more than have places are in
        for path in PROBES:
            assert server.get(path).status_code in (200, 503)
        server.order("end")
        assert {one.result().status_code for one in asked} == {200, 503}
    eventually(server.is_ready)


def test_readiness_reports_each_model(server: Running) -> None:
    models = server.get("/readyz").json()["models"]
    assert set(models) == {"/one"}
    assert set(models["/one"]) >= {"state", "reason", "queued", "running", "places", "restarts"}
