"""Model processes with a device each: what they see, who is packed where, and what an error of a device ends."""

import os
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.commands import command
from tests.conftest import Serve
from tests.server.running import Running, alive, problem, told
from tests.server.test_model_metrics import told as metric
from tests.waiting import eventually

GIB = 1 << 30
APP = "tests.apps.on_devices:app"
DEVICES = "fake:0=8GiB,fake:1=8GiB"


@pytest.fixture(scope="module")
def server(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Running:
    notes, mark = tmp_path_factory.mktemp("notes"), uuid.uuid4().hex
    variables = {"RUNNING_TEST_MARK": mark, "RELOADED": str(notes / "memory"), "GATEWAY_BREAKER_COOLDOWN": "1"}
    started = serve(APP, "--workers", "2", "--devices", DEVICES, **variables)
    running = Running(started, notes, mark, "process")
    eventually(running.is_ready)
    return running


def seen(server: Running, route: str, processes: int = 1) -> dict[int, dict[str, str]]:
    """What each process of a model sees of devices, by its id."""

    def ask(_: int) -> dict[str, str]:
        return server.told(route)

    def look() -> dict[int, dict[str, str]]:
        with ThreadPoolExecutor(4) as threads:
            views = {int(view["pid"]): view for view in threads.map(ask, range(8))}
        return views if len(views) >= processes else {}

    return eventually(look)


def test_each_process_sees_its_own_device_alone_before_the_models_code_is_imported(server: Running) -> None:
    large = seen(server, "large", 2)
    assert {view["visible"] for view in large.values()} == {"fake:0", "fake:1"}
    for view in [*large.values(), *seen(server, "small").values()]:
        assert view["now"] == view["visible"]
        assert view["visible"] in ("fake:0", "fake:1")
        assert view["hip"] == "-1"
        assert view["device"] == "cpu"  # a named device computes nothing
    (none,) = seen(server, "none").values()
    assert (none["visible"], none["hip"], none["device"]) == ("-1", "-1", "cpu")


def test_readiness_and_metrics_have_the_devices_as_they_are_declared(server: Running) -> None:
    eventually(server.is_ready)
    one = {"processes": 1, "memory": 6 * GIB}
    assert server.health("large")["devices"] == {"fake:0": one, "fake:1": one}
    assert server.health("several")["devices"] == {"fake:1": {"processes": 1, "memory": 0}}
    assert server.health("none")["devices"] == {}
    assert metric(server, "gateway_model_device_processes", model="/large", device="fake:0") == 1
    assert metric(server, "gateway_model_device_bytes", model="/large", device="fake:1") == 6 * GIB


def test_a_process_that_is_replaced_has_the_device_of_the_one_that_died(server: Running) -> None:
    before = seen(server, "large", 2)
    died = max(before)
    os.kill(died, signal.SIGKILL)
    eventually(lambda: not alive(died) and len(server.hosts("large") - {died}) == 2 and server.is_ready())
    after = seen(server, "large", 2)
    (new,) = after.keys() - before.keys()
    assert after[new]["visible"] == before[died]["visible"]


def test_a_batch_that_lacks_memory_is_answered_one_by_one_and_the_process_lives_on(server: Running) -> None:
    (before,) = server.hosts("several")
    bodies = [{"n": n, "room": 1} for n in range(3)] + [{"n": 3, "room": 0}]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda body: server.ask("several", body), bodies))
    # alone, the last one lacks memory still
    assert [told(answer)["size"] for answer in answers[:3]] == [1, 1, 1]
    assert [told(answer)["n"] for answer in answers[:3]] == [0, 1, 2]
    problem(answers[3], 503, "unavailable")
    assert int(answers[3].headers["Retry-After"]) >= 1
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda n: server.ask("several", {"n": n}), range(4)))
    assert {told(answer)["size"] for answer in answers} == {4}
    assert server.hosts("several") == {before}


def test_a_request_alone_that_lacks_memory_is_a_503_and_the_process_lives_on(server: Running) -> None:
    (before,) = server.hosts("small")
    answer = server.ask("small", {"fail": "memory"})
    problem(answer, 503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert server.told("small")["pid"] == before


def test_a_device_that_failed_ends_the_process_and_the_next_has_it_again(server: Running) -> None:
    (before,) = seen(server, "small").values()
    restarts = server.health("small")["restarts"]
    problem(server.ask("small", {"fail": "sticky"}), 502, "model-died")
    (after,) = seen(server, "small").values()
    assert after["pid"] != before["pid"]
    assert after["visible"] == before["visible"]
    assert server.health("small")["restarts"] == restarts + 1
    assert "its device failed (AcceleratorError)" in server.server.log


def test_a_device_that_failed_inside_a_worker_ends_the_worker(server: Running) -> None:
    before = server.workers
    problem(server.ask("inline", {"fail": "sticky"}), 502, "model-died")
    eventually(lambda: len(server.workers) == len(before) and server.workers != before and server.is_ready())
    assert "The device of a model has failed. This worker ends" in server.server.log
    assert told(server.ask("inline"))["pid"] in server.workers


@pytest.mark.slow
def test_a_reload_has_no_two_versions_on_a_device_without_room_for_both(server: Running) -> None:
    before = server.hosts("large")
    os.kill(server.master, signal.SIGHUP)
    eventually(lambda: len(server.hosts("large")) == 2 and not server.hosts("large") & before and server.is_ready())
    assert {view["visible"] for view in seen(server, "large", 2).values()} == {"fake:0", "fake:1"}
    server.order("memory", "9 GiB")
    before = server.hosts("large")
    os.kill(server.master, signal.SIGHUP)
    health = eventually(
        lambda: "do not fit" in server.health("large")["reason"] and server.is_ready() and server.health("large")
    )
    assert health["state"] == "ready"
    assert server.hosts("large") == before


def test_a_server_whose_models_do_not_fit_does_not_start() -> None:
    ran = command("serve", APP, "--devices", DEVICES, environ=os.environ | {"PORT": "0", "LARGE": "9 GiB"})
    assert ran.returncode not in (0, 2)
    assert "/large 2 x 9 GiB" in ran.stderr
    assert "fake:0 8 GiB" in ran.stderr
