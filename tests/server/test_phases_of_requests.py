"""The phases of a request add up to its time, however small it is and however it ends, in either form of running."""

import uuid

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.apps.phases import SECONDS
from tests.conftest import Serve
from tests.server.running import FORMS, Running, eventually
from tests.waiting import PATIENCE

TYPE = "multipart/related; boundary=b"
SMALL = b"--b\r\n\r\n{}\r\n--b\r\n\r\n" + bytes(900) + b"\r\n--b--\r\n"
CASES = {
    "answered": ("answers", 200, SMALL, TYPE),
    "refused by the model": ("refuses", 422, SMALL, TYPE),
    "failed": ("fails", 500, SMALL, TYPE),
    "no answer": ("invalid", 500, SMALL, TYPE),
    "too late": ("lasts", 504, SMALL, TYPE),
    "broken off": ("answers", 400, SMALL[:-9], TYPE),
    "no JSON": ("answers", 400, SMALL.replace(b"{}", b"{"), TYPE),
    "another type": ("answers", 415, SMALL, "text/plain"),
}
TIMES = 10

Sums = dict[tuple[str, str], float]


@pytest.fixture(scope="module", params=FORMS)
def server(request: pytest.FixtureRequest, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Running:
    served = serve("tests.apps.phases:app", GATEWAY_MODEL_PROCESSES=FORMS[request.param])
    running = Running(served, tmp_path_factory.mktemp("notes"), uuid.uuid4().hex, request.param)
    eventually(running.is_ready)
    return running


def sums(server: Running, route: str) -> Sums:
    """The seconds of all requests to a route, by phase and in all, and how many they were."""
    families = text_string_to_metric_families(server.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.labels.get("route") == f"/{route}"]
    return {(sample.name, sample.labels.get("phase", "")): sample.value for sample in samples}


def took(server: Running, case: str) -> Sums:
    """The seconds that requests of one case add to the sums."""
    route, status, body, kind = CASES[case]
    before, all_of_them = sums(server, route), ("gateway_request_seconds_count", "")
    for _ in range(TIMES):
        answer = requests.post(f"{server.url}/{route}", body, headers={"Content-Type": kind}, timeout=PATIENCE)
        assert answer.status_code == status
    counted = before.get(all_of_them, 0) + TIMES
    eventually(lambda: sums(server, route).get(all_of_them) == counted)
    return {name: value - before.get(name, 0.0) for name, value in sums(server, route).items()}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.slow
def test_the_phases_of_small_and_of_failed_requests_add_up_to_their_time(server: Running, case: str) -> None:
    def add_up() -> bool:
        found = took(server, case)
        phases = sum(value for (name, _), value in found.items() if name == "gateway_phase_seconds_sum")
        return phases == pytest.approx(found["gateway_request_seconds_sum", ""], rel=0.05)

    assert any(add_up() for _ in range(5)), "a busy machine stops between two phases now and then, and not each time"


@pytest.mark.slow
def test_a_deadline_that_passes_while_the_model_works_is_the_models_time(server: Running) -> None:
    found = took(server, "too late")  # in a process of its own, some of them wait while it goes on with the one before
    assert found["gateway_phase_seconds_sum", "predict"] >= SECONDS


@pytest.mark.parametrize("case", ["failed", "no answer"])
@pytest.mark.slow
def test_the_time_of_a_model_that_gave_no_answer_is_its_own_and_not_the_lines(server: Running, case: str) -> None:
    found = took(server, case)
    assert found["gateway_phase_seconds_sum", "predict"] >= TIMES * SECONDS
