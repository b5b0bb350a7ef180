"""A model that does what it should not costs its own request, and at most its worker: never the server."""

import contextlib
import os
import signal
import socket

import pytest
import requests

from tests.apps.odd import CANARY
from tests.server.running import FORMS, Running, Start, alive, problem
from tests.waiting import PATIENCE, eventually


@pytest.fixture(scope="module", params=FORMS)
def server(request: pytest.FixtureRequest, start: Start) -> Running:
    return start(request.param, "odd echo", "--workers", "1", GATEWAY_BREAKER_COOLDOWN="1")


@pytest.fixture(scope="module")
def inline(start: Start) -> Running:
    return start("inline", "odd echo", "--workers", "1")


def do(server: Running, does: str, **more: object) -> requests.Response:
    """Have the model do it, once it can be asked."""
    eventually(server.is_ready)
    return server.ask("odd", {"does": does, **more})


RAISED = ["sys.exit", "another BaseException", "KeyboardInterrupt", "GeneratorExit", "MemoryError", "RecursionError"]


@pytest.mark.parametrize("does", RAISED)
def test_whatever_a_model_raises_is_a_failure_of_its_request(server: Running, does: str) -> None:
    before = server.told("odd")["pid"]
    problem(do(server, does), 500, "model-failed")
    assert server.told("odd")["pid"] == before


ENDS = {
    "status 0": ("os._exit", 0),
    "gunicorn's WORKER_BOOT_ERROR": ("os._exit", 3),
    "gunicorn's APP_LOAD_ERROR": ("os._exit", 4),
    "abort": ("abort", 0),
    "closed descriptors": ("close descriptors", 0),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_model_that_ends_its_process_is_followed_by_another_process(server: Running, end: str) -> None:
    does, status = ENDS[end]
    before = server.told("odd")["pid"]
    with contextlib.suppress(requests.ConnectionError):  # its worker cannot answer any more
        problem(do(server, does, status=status), 502, "model-died")
    eventually(lambda: not alive(before))
    after = eventually(lambda: _odd(server))
    assert after["pid"] != before
    assert server.server.process.poll() is None


def _odd(server: Running) -> dict[str, object]:
    with contextlib.suppress(requests.ConnectionError):
        return server.told("odd")
    return {}


HARMLESS = ["alarm", "recursion limit", "default timeout", "block signals", "pool", "fork and return"]


@pytest.mark.parametrize("does", HARMLESS)
def test_what_a_model_does_to_its_process_harms_no_later_request(server: Running, does: str) -> None:
    before, family = server.told("odd")["pid"], len(server.family())
    assert do(server, does).status_code == 200
    assert server.told("odd", None, b"x" * 1000)["pid"] == before
    assert server.told("echo")
    if does == "fork and return":
        eventually(lambda: len(server.family()) == family)


def test_a_child_that_a_model_forks_can_be_terminated(server: Running) -> None:
    assert server.told("odd", {"does": "terminate a child"})["status"] == -signal.SIGTERM


def test_inside_a_worker_each_call_begins_in_the_folder_of_the_server(inline: Running) -> None:
    before = inline.told("odd")
    moved = inline.told("odd", {"does": "move"})
    assert (moved["folder"], moved["umask"]) == ("/proc", 0)
    assert inline.told("odd") == before


def test_collections_of_garbage_leave_out_what_was_loaded_at_the_start(server: Running) -> None:
    eventually(lambda: server.told("odd")["spared"])


def test_closed_standard_streams_are_opened_again(server: Running) -> None:
    do(server, "close streams")
    server.told("odd", {"does": "log", "text": f"still logged {server.form}"})
    eventually(lambda: f"still logged {server.form}" in server.server.log)


QUOTED = {
    "warn": "UserWarning: (text withheld)",
    "warn to the log": "UserWarning: (text withheld)",
    "fail in a thread": "builtins.ValueError",
    "fail in __del__": "builtins.ValueError",
    "log what cannot be formatted": "a log record of odd:",
}


@pytest.mark.parametrize("does", QUOTED)
def test_the_log_has_the_place_and_not_the_text(server: Running, does: str) -> None:
    known = server.server.log.count(QUOTED[does])
    do(server, does)
    eventually(lambda: server.server.log.count(QUOTED[does]) > known)
    assert CANARY not in server.server.log


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.slow
def test_a_process_that_a_model_leaves_holds_neither_port_nor_connections_nor_the_server(
    start: Start, form: str
) -> None:
    server = start(form, "odd echo", "--workers", "1")
    with socket.create_connection(("127.0.0.1", server.server.port), PATIENCE) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        child = server.told("odd", {"does": "fork"})["child"]
        while client.recv(1000):
            pass  # until the server closes it
    os.kill(server.master, signal.SIGTERM)
    try:
        assert server.server.process.wait(PATIENCE) == 0
        assert server.family() <= {child}
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", server.server.port))
            listener.listen()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("does", ["leave a thread", "leave a child"])
@pytest.mark.parametrize("form", FORMS)
def test_what_a_model_leaves_running_does_not_keep_the_server(start: Start, form: str, does: str) -> None:
    server = start(form, "odd", "--workers", "1")
    server.told("odd", {"does": does})
    os.kill(server.master, signal.SIGTERM)
    assert server.server.process.wait(PATIENCE) == 0
    for left in server.family():
        os.kill(left, signal.SIGKILL)


@pytest.mark.parametrize("form", FORMS)
def test_a_model_that_exits_when_it_is_closed_keeps_no_other_from_being_closed(start: Start, form: str) -> None:
    server = start(form, "loaded slow", "--workers", "1", orders={"go": "now", "exits in close": "now"})
    os.kill(server.master, signal.SIGTERM)
    assert server.server.process.wait(PATIENCE) == 0
    assert len(server.noted("closed")) == 2
    assert server.server.log.count("was not closed") == 2


@pytest.mark.parametrize("form", FORMS)
def test_signals_that_an_application_takes_at_its_import_are_the_server_s_again(start: Start, form: str) -> None:
    server = start(form, "odd", "--workers", "1", orders={"take signals": "now"})
    assert server.told("odd", {"does": "alarm"})
    os.kill(server.master, signal.SIGTERM)
    assert server.server.process.wait(PATIENCE) == 0
