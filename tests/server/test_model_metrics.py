"""``/metrics`` of running models: queue, batch, spool, state, restarts; through real gunicorn."""

import contextlib
import os
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Serve
from tests.server.running import FORMS, Running, in_flight
from tests.waiting import PATIENCE, eventually

SIZE = 300_000
HEADERS = {"Content-Type": "multipart/related; boundary=b", "Connection": "close"}


def serving(serve: Serve, notes: pytest.TempPathFactory, form: str) -> Running:
    mark = uuid.uuid4().hex
    given = {"RUNNING_TEST_MARK": mark, "GATEWAY_MODEL_PROCESSES": FORMS[form], "GATEWAY_SPOOL_THRESHOLD": "1000"}
    server = serve("tests.apps.phases:app", "--workers", "2", **given)
    running = Running(server, notes.mktemp("notes"), mark, form)
    eventually(running.is_ready)
    return running


@pytest.fixture(scope="module", params=FORMS)
def server(request: pytest.FixtureRequest, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Running:
    return serving(serve, tmp_path_factory, request.param)


def told(server: Running, name: str, **labels: str) -> float:
    """The sum of the samples of this name and these labels."""
    families = text_string_to_metric_families(server.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


@contextlib.contextmanager
def asking(server: Running, route: str, count: int) -> Iterator[None]:
    """So many requests are in at once, and answered when the block ends."""
    go = server.notes / route
    body = b'--b\r\n\r\n{"until": "%s"}\r\n--b\r\n\r\n' % str(go).encode() + bytes(SIZE) + b"\r\n--b--\r\n"

    def post() -> int:
        return requests.post(f"{server.url}/{route}", body, headers=HEADERS, timeout=PATIENCE).status_code

    with ThreadPoolExecutor(count) as pool:
        sent = [pool.submit(post) for _ in range(count)]
        eventually(lambda: in_flight(server.url) == count)
        yield
        go.touch()
    assert {one.result() for one in sent} == {200}


def test_a_running_model_reports_its_queue_and_the_bytes_in_files(server: Running) -> None:
    with asking(server, "one", 6):
        # one place in each worker, or one process for both
        eventually(lambda: told(server, "gateway_queue_depth", model="/one") >= 4)
        assert told(server, "gateway_model_running", model="/one") >= 1
        eventually(lambda: told(server, "gateway_spool_bytes") >= 6 * SIZE)
    eventually(lambda: told(server, "gateway_spool_bytes") == told(server, "gateway_requests_in_flight") == 0)
    eventually(lambda: told(server, "gateway_queue_depth", model="/one") == 0)


def test_a_batch_reports_its_size_for_each_of_its_answers(server: Running) -> None:
    before = told(server, "gateway_batch_size_count", route="/together")
    with asking(server, "together", 8):
        pass
    eventually(lambda: told(server, "gateway_batch_size_count", route="/together") == before + 8)
    assert told(server, "gateway_batch_size_sum", route="/together") > 8


def test_each_model_is_in_one_state_however_many_workers_report_it(server: Running) -> None:
    for model in ("/one", "/answers"):
        assert told(server, "gateway_model_state", model=model) == 1
        assert told(server, "gateway_model_state", model=model, state="ready") == 1


@pytest.mark.slow
def test_a_model_process_that_was_killed_is_a_restart(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> None:
    server = serving(serve, tmp_path_factory, "process")
    (host,) = server.hosts("answers")
    os.kill(host, signal.SIGKILL)
    eventually(lambda: told(server, "gateway_model_restarts_total", model="/answers") == 1)
    eventually(lambda: told(server, "gateway_model_state", model="/answers", state="ready") == 1)
    assert told(server, "gateway_model_restarts_total") == 1
