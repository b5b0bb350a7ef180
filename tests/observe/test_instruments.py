"""The metrics of one process: their counts and labels, and that nothing else becomes a label."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from gateway import Gateway
from gateway.contract.execution import HealthState
from gateway.errors import GatewayError
from gateway.executors.states import ModelHealth
from gateway.observe import multiprocess
from gateway.observe.instruments import Instruments
from gateway.observe.metrics import Metrics
from gateway.observe.outcomes import DOORS, PHASES
from tests.conftest import ROOT
from tests.examples import examples
from tests.observe.outcomes import PLAIN, outcome

LABELS = {"route", "status", "door", "reason", "phase", "model", "state", "le"}
NAME = "DOE^JANE"


@pytest.fixture
def metrics() -> Metrics:
    return fresh()


def fresh() -> Metrics:
    return Metrics(["/lungs", "/heart"], Instruments(CollectorRegistry()))


def samples(metrics: Metrics) -> dict[str, list[tuple[dict[str, str], float]]]:
    """The exposed samples, by name."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(metrics.exposition()[0].decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float:
    (found,) = [value for of, value in samples(metrics)[name] if of == labels]
    return found


def test_a_request_is_counted_by_route_and_status_with_its_bytes_and_seconds(metrics: Metrics) -> None:
    for status in (200, 200, 422):
        metrics.count(outcome(status=status))
    assert value(metrics, "gateway_requests_total", route="/lungs", status="200", door="multipart") == 2
    assert value(metrics, "gateway_requests_total", route="/lungs", status="422", door="multipart") == 1
    assert value(metrics, "gateway_received_bytes_total", route="/lungs") == 3 * PLAIN.bytes_in
    assert value(metrics, "gateway_sent_bytes_total", route="/lungs") == 3 * PLAIN.bytes_out
    assert value(metrics, "gateway_request_seconds_sum", route="/lungs") == 3 * PLAIN.seconds
    assert value(metrics, "gateway_request_seconds_bucket", route="/lungs", le="2.5") == 3
    assert value(metrics, "gateway_request_seconds_bucket", route="/lungs", le="1.0") == 0


def test_each_phase_has_a_histogram(metrics: Metrics) -> None:
    metrics.count(outcome(phases={phase: 0.5 + number for number, phase in enumerate(PHASES)}))
    for number, phase in enumerate(PHASES):
        assert value(metrics, "gateway_phase_seconds_sum", route="/lungs", phase=phase) == 0.5 + number
        assert value(metrics, "gateway_phase_seconds_count", route="/lungs", phase=phase) == 1


def test_problems_are_counted_by_reason_and_answers_by_the_size_of_their_batch(metrics: Metrics) -> None:
    metrics.count(outcome(status=503, reason="unavailable"))
    metrics.count(outcome(batch_size=3))
    assert value(metrics, "gateway_rejections_total", route="/lungs", reason="unavailable") == 1
    assert value(metrics, "gateway_batch_size_sum", route="/lungs") == 3
    assert value(metrics, "gateway_batch_size_count", route="/lungs") == 1


@settings(deadline=None, max_examples=examples(30))
@given(door=st.text(), route=st.text(), reason=st.text(min_size=1), status=st.integers(), phase=st.text())
def test_what_a_client_could_choose_becomes_no_label(
    door: str, route: str, reason: str, status: int, phase: str
) -> None:
    metrics = fresh()
    names = {"door": NAME + door, "route": NAME + route, "reason": NAME + reason}
    metrics.count(outcome(**names, status=status, phases={NAME + phase: 1.0}))
    text = metrics.exposition()[0].decode()
    assert NAME not in text
    known = {"/lungs", "/heart", "other", *DOORS, *PHASES, *map(str, range(100, 600))}
    told = [labels for of in samples(metrics).values() for labels, _ in of]
    assert {name for labels in told for name in labels} <= LABELS
    assert {text for labels in told for name, text in labels.items() if name != "le"} <= known


def test_an_error_that_a_service_derives_gives_no_label_of_its_own(metrics: Metrics) -> None:
    class Own(GatewayError):
        code = NAME

    metrics.count(outcome(status=500, reason=Own.code))
    assert value(metrics, "gateway_rejections_total", route="/lungs", reason="other") == 1


def test_gauges_go_up_and_down(metrics: Metrics) -> None:
    metrics.in_flight.inc()
    metrics.in_flight.inc()
    metrics.in_flight.dec()
    metrics.spool_bytes.inc(1 << 20)
    metrics.audit_failures.inc()
    assert value(metrics, "gateway_requests_in_flight") == 1
    assert value(metrics, "gateway_spool_bytes") == 1 << 20
    assert value(metrics, "gateway_audit_failures_total") == 1


@pytest.mark.parametrize("state", HealthState)
def test_a_model_is_in_one_state_and_reports_its_queue_and_restarts(metrics: Metrics, state: str) -> None:
    metrics.open(lambda: {"/lungs": ModelHealth(state=state, queued=2, running=1, restarts=3)})
    found = {labels["state"]: number for labels, number in samples(metrics)["gateway_model_state"]}
    assert found == dict.fromkeys(HealthState, 0.0) | {state: 1.0}
    assert value(metrics, "gateway_queue_depth", model="/lungs") == 2
    assert value(metrics, "gateway_model_running", model="/lungs") == 1
    assert value(metrics, "gateway_model_restarts_total", model="/lungs") == 3


def test_health_is_read_again_for_each_scrape(metrics: Metrics) -> None:
    told = [
        ModelHealth(state=HealthState.FAILED),
        ModelHealth(state=HealthState.BUSY),
        ModelHealth(state=HealthState.STARTING),
    ]
    metrics.open(lambda: {"/lungs": told.pop()})
    for state in ("starting", "busy", "failed"):
        assert value(metrics, "gateway_model_state", model="/lungs", state=state) == 1


def test_openmetrics_is_served_where_accepted(metrics: Metrics) -> None:
    metrics.count(PLAIN)
    text, media_type = metrics.exposition("application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text")
    assert {family.name for family in open_metrics(text.decode())} >= {"gateway_requests", "gateway_phase_seconds"}
    assert metrics.exposition("text/html")[1].startswith("text/plain; version=")


def test_the_page_is_text_for_prometheus_and_yields_to_a_services_own() -> None:
    answer = Gateway(__name__).test_client().get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    assert answer.headers["Cache-Control"] == "no-store"
    own = Gateway(__name__)
    own.add_url_rule("/metrics", "own", lambda: "own")
    assert own.test_client().get("/metrics").text == "own"


WORKERS = """
import os
from gateway.observe import multiprocess
{before}
multiprocess.prepare()
from gateway.observe.metrics import Metrics
from tests.observe.outcomes import PLAIN
metrics = Metrics(["/lungs"])
for _ in range(2):
    if (pid := os.fork()) == 0:
        for _ in range(1000):
            metrics.count(PLAIN)
        metrics.in_flight.inc()
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    multiprocess.worker_exited(pid)
metrics.count(PLAIN)
print(metrics.exposition()[0].decode())
multiprocess.clean_up()
"""


@pytest.mark.parametrize("before", ["", "import prometheus_client", "os.environ[multiprocess.VARIABLE] = {folder!r}"])
def test_what_killed_workers_counted_stays_and_what_they_were_doing_does_not(tmp_path: Path, before: str) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "counter_1.db").write_bytes(b"left over")
    script = WORKERS.format(before=before.format(folder=str(folder)))
    environment = {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    found = {
        (s.name, *s.labels.values()): s.value for f in text_string_to_metric_families(ran.stdout) for s in f.samples
    }
    assert found["gateway_requests_total", "multipart", "/lungs", "200"] == 2001
    assert found["gateway_request_seconds_count", "/lungs"] == 2001
    assert found.get(("gateway_requests_in_flight",), 0) == 0
    assert folder.exists()


def test_only_the_process_that_made_the_folder_removes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(multiprocess.VARIABLE, raising=False)
    monkeypatch.delitem(sys.modules, "prometheus_client")
    multiprocess.prepare()
    folder = Path(os.environ[multiprocess.VARIABLE])
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        multiprocess.clean_up()
    assert folder.is_dir()
    multiprocess.clean_up()
    assert not folder.exists()
    assert multiprocess.VARIABLE not in os.environ


def test_servers_that_start_at_once_have_a_folder_each(tmp_path: Path) -> None:
    def start(_: int) -> tuple[Path, int]:
        multiprocess.remove_left_over(tmp_path)
        return multiprocess.new_folder(tmp_path)

    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(start, range(100)))
    assert all(folder.is_dir() for folder, _ in made)
    for _, descriptor in made:
        os.close(descriptor)
    multiprocess.remove_left_over(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_space_of_a_workers_files_is_reserved_at_its_start_and_released_at_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(multiprocess.VARIABLE, str(tmp_path))
    multiprocess.reserve()
    for kind, size in multiprocess.ROOM.items():
        assert (tmp_path / f"{kind}_{os.getpid()}.db").stat().st_blocks * 512 >= size
    multiprocess.worker_exited(os.getpid())
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 100 * len(multiprocess.ROOM)


def counted(folder: Path, pid: int | str) -> dict[str, float]:
    """The values in the file of a process's counters."""
    values = MmapedDict.read_all_values_from_file(str(folder / f"counter_{pid}.db"))
    return {key: value for key, value, _, _ in values}


def test_the_counts_of_dead_workers_are_added_up_in_one_file_unless_it_is_being_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def live_and_die(pid: int, key: str) -> None:
        own = MmapedDict(str(tmp_path / f"counter_{pid}.db"))
        own.write_value("all", 2.0, 0.0)
        own.write_value(key, 1.0, 0.0)
        own.close()
        multiprocess.worker_exited(pid)

    monkeypatch.setenv(multiprocess.VARIABLE, str(tmp_path))
    monkeypatch.setattr(multiprocess, "LOCK_SECONDS", 0.02)
    for pid in range(1000, 1100):
        live_and_die(pid, f"{pid % 3}" * 1000)
    assert {path.name for path in tmp_path.iterdir()} == {"counter_dead.db", "lock"}
    assert counted(tmp_path, "dead") == {"all": 200, "0" * 1000: 33, "1" * 1000: 34, "2" * 1000: 33}
    assert (tmp_path / "counter_dead.db").stat().st_size < 10_000
    with multiprocess.reading(tmp_path):
        live_and_die(1100, "late")
    assert counted(tmp_path, 1100) == {"all": 2, "late": 1}
    assert counted(tmp_path, "dead")["all"] == 200


def test_a_master_that_ends_before_it_has_workers_leaves_no_folder(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, sys; from gateway.observe import multiprocess;"
        "multiprocess.MEMORY = pathlib.Path(sys.argv[1]); multiprocess.prepare();"
        "print(len(os.listdir(sys.argv[1]))); os.fork(); sys.exit(1)"
    )
    ran = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (1, "")
    assert ran.stdout.startswith("1")
    assert list(tmp_path.iterdir()) == []


def test_the_series_of_each_reason_with_an_alert_begin_at_zero(metrics: Metrics) -> None:
    alerting = set(re.findall(r'reason="([^"]+)"', (ROOT / "docs/alerts.yml").read_text("utf-8")))
    assert alerting
    metrics.open(dict)
    for reason in alerting:
        for route in ("/lungs", "/heart", "other"):
            assert value(metrics, "gateway_rejections_total", route=route, reason=reason) == 0
