"""A model that cannot be set up ends the server at its first start, and later only itself."""

import os
import signal

import pytest

from tests.server.running import ALL_FORMS, Running, Start, problem, told
from tests.waiting import PATIENCE, eventually

BROKEN = "no weights at /weights/unet.pt"


@pytest.mark.parametrize("form", ALL_FORMS)
def test_a_setup_that_raises_at_the_first_start_ends_the_server_with_one_line_and_a_status(
    start: Start, form: str
) -> None:
    server = start(form, "echo loaded", ready=False, orders={"broken": BROKEN})
    assert server.server.process.wait(PATIENCE) not in (0, None)
    line = f"The model on /loaded could not be set up: RuntimeError: {BROKEN}"
    assert [one for one in server.server.log.splitlines() if one.endswith(line)]
    eventually(lambda: not server.family())


@pytest.mark.slow
def test_a_model_process_that_ends_in_its_setup_at_the_first_start_ends_the_server_too(start: Start) -> None:
    server = start("process", "echo loaded", ready=False, orders={"dies in setup": "now"})
    assert server.server.process.wait(PATIENCE) not in (0, None)
    assert "The model on /loaded could not be set up: it exited with status 7" in server.server.log


@pytest.mark.parametrize("form", ALL_FORMS)
def test_a_setup_that_exits_at_the_first_start_ends_the_server_too(start: Start, form: str) -> None:
    server = start(form, "echo loaded", ready=False, orders={"exits in setup": "now"})
    assert server.server.process.wait(PATIENCE) not in (0, None)
    assert "The model on /loaded could not be set up: ModelFailed" in server.server.log


def test_inside_the_workers_a_setup_that_ends_them_at_the_first_start_ends_the_server(start: Start) -> None:
    server = start("inline", "echo loaded", "--workers", "1", ready=False, orders={"dies in setup": "now"})
    assert server.server.process.wait(PATIENCE) not in (0, None)
    assert "3 workers died before its models were ready" in server.server.log
    eventually(lambda: not server.family())


def test_workers_that_make_way_before_the_first_start_do_not_end_the_server(start: Start) -> None:
    server = start("process", "slow", "--workers", "4", ready=False)
    eventually(lambda: server.noted("begun"))
    os.kill(server.supervisor, signal.SIGKILL)
    eventually(lambda: len(server.noted("begun")) == 2)
    server.order("go")
    eventually(server.is_ready)


@pytest.fixture(scope="module", params=ALL_FORMS)
def server(request: pytest.FixtureRequest, start: Start) -> Running:
    return start(request.param, "echo loaded", "--workers", "1", GATEWAY_BREAKER_COOLDOWN="1")


def test_a_setup_that_raises_at_a_restart_fails_that_model_and_the_others_serve_on(server: Running) -> None:
    server.order("broken", BROKEN)
    (loaded,) = server.workers if server.form == "inline" else server.hosts("loaded")
    os.kill(loaded, signal.SIGKILL)
    eventually(lambda: server.not_ready().get("/loaded", {}).get("state") == "failed")
    assert server.not_ready()["/echo"]["state"] == "ready"
    assert server.get("/healthcheck").text == "FAILED"
    assert server.get("/startupz").status_code == 200
    assert told(server.ask("echo"))
    failed = server.ask("loaded")
    assert failed.status_code in (500, 503)
    assert "unet" not in failed.text  # that is for those who may know it, in /readyz and the log
    assert server.server.process.poll() is None


def test_a_model_process_that_failed_to_start_restarts_by_itself_once_the_cause_is_removed(server: Running) -> None:
    if server.form == "inline":
        (worker,) = server.workers
        server.order("broken", "")
        os.kill(worker, signal.SIGTERM)  # what a worker could not load it tries again when it is replaced
    server.order("broken", "")
    eventually(server.is_ready)
    assert server.ask("loaded").status_code == 200


@pytest.mark.slow
def test_a_model_that_rests_refuses_with_the_time_to_try_again(start: Start) -> None:
    server = start("process", "loaded", "--workers", "1", GATEWAY_BREAKER_COOLDOWN="600")
    server.order("broken", BROKEN)
    (loaded,) = server.hosts("loaded")
    os.kill(loaded, signal.SIGKILL)
    eventually(lambda: server.health("loaded")["state"] == "failed")
    refused = server.ask("loaded")
    problem(refused, 503, "unavailable")
    assert 500 < int(refused.headers["Retry-After"]) <= 600
