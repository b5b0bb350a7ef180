"""Traces as a collector gets them: a span for the request, one for each phase, the caller's trace carried on."""

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from statistics import median

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway.extras import hint
from gateway.observe import traces
from gateway.observe.outcomes import PHASES
from gateway.observe.spans import Spans
from tests.conftest import ROOT
from tests.observe.collector import Collector
from tests.observe.outcomes import PLAIN, outcome

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
"""The example of W3C Trace Context 3.2.2.5."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        yield running


def attributes(span: Span) -> dict[str, str | int]:
    return {
        one.key: one.value.string_value if one.value.HasField("string_value") else one.value.int_value
        for one in span.attributes
    }


def sent(collector: Collector, **changed: object) -> tuple[Span, list[Span]]:
    """The span of one request, and those of its phases."""
    with closing(Spans()) as spans:
        spans.trace(outcome(**changed))
    (server,) = [span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]
    return server, [span for span in collector.spans if span is not server and span.kind == Span.SPAN_KIND_INTERNAL]


def test_a_request_is_a_server_span_with_a_span_for_each_phase(collector: Collector) -> None:
    server, phases = sent(collector)
    assert server.name == "POST /lungs"
    assert server.end_time_unix_nano - server.start_time_unix_nano == 1_500_000_000
    assert server.start_time_unix_nano == int(PLAIN.received.timestamp() * 1e9)
    assert [span.name for span in phases] == [phase for phase in PHASES if phase in PLAIN.phases]
    assert {span.parent_span_id for span in phases} == {server.span_id}
    assert {span.trace_id for span in phases} == {server.trace_id}
    assert len({span.span_id for span in collector.spans}) == 4


def test_the_phases_follow_each_other_and_last_as_long_as_they_did(collector: Collector) -> None:
    server, phases = sent(collector)
    assert phases[0].start_time_unix_nano == server.start_time_unix_nano
    for before, after in zip(phases, phases[1:], strict=False):
        assert before.end_time_unix_nano == after.start_time_unix_nano
    lasted = {span.name: (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9 for span in phases}
    assert lasted == PLAIN.phases


def test_a_span_has_route_status_sizes_digests_and_model(collector: Collector) -> None:
    server, _ = sent(collector)
    assert attributes(server) == {
        "http.request.method": "POST",
        "http.route": "/lungs",
        "http.response.status_code": 200,
        "http.request.body.size": 1024,
        "http.response.body.size": 2048,
        "gateway.request_id": "5f2b",
        "gateway.input_digest": "a" * 64,
        "gateway.output_digest": "b" * 64,
        "gateway.model.name": "lungs",
        "gateway.model.version": "1.2.0",
        "gateway.batch_size": 1,
    }
    assert server.status.code == Status.STATUS_CODE_UNSET


def test_a_failure_is_an_error_and_a_refusal_is_not(collector: Collector) -> None:
    with closing(Spans()) as spans:
        spans.trace(outcome(status=500, reason="model-failed", phases={}))
        spans.trace(outcome(status=422, reason="study-refused", phases={}))
    found = {attributes(span)["error.type"]: span.status.code for span in collector.spans}
    assert found == {"model-failed": Status.STATUS_CODE_ERROR, "study-refused": Status.STATUS_CODE_UNSET}


def test_the_callers_trace_is_continued(collector: Collector) -> None:
    server, phases = sent(collector, traceparent=TRACEPARENT)
    assert server.trace_id.hex() == TRACE
    assert server.parent_span_id.hex() == PARENT
    assert {span.trace_id.hex() for span in phases} == {TRACE}


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "DOE^JANE",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        TRACEPARENT + "-more",
        "0" * 100_000,
    ],
)
def test_an_invalid_traceparent_begins_a_new_trace(collector: Collector, traceparent: str) -> None:
    server, _ = sent(collector, traceparent=traceparent)
    assert server.parent_span_id == b""
    assert server.trace_id.hex() != TRACE
    assert b"DOE" not in b"".join(collector.raw)


def test_a_caller_that_records_no_trace_is_not_recorded_here(collector: Collector) -> None:
    with closing(Spans()) as spans:
        spans.trace(outcome(traceparent=f"00-{TRACE}-{PARENT}-00"))
        spans.trace(outcome(traceparent=TRACEPARENT, phases={}))
    assert len(collector.spans) == 1


def test_the_sampler_and_the_names_are_those_of_the_environment(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Spans()) as spans:
        spans.trace(PLAIN)
    assert collector.service == "inference-gateway"
    collector.exports.clear()
    monkeypatch.setenv("OTEL_SERVICE_NAME", "radiology")
    with closing(Spans()) as spans:
        spans.trace(PLAIN)
    assert collector.service == "radiology"
    collector.exports.clear()
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with closing(Spans()) as spans:
        spans.trace(PLAIN)
    assert collector.spans == []


def test_an_unreachable_collector_delays_no_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
    spans, seconds = Spans(), list[float]()
    for _ in range(200):
        began = time.perf_counter()
        spans.trace(PLAIN)
        seconds.append(time.perf_counter() - began)
    spans.close()
    assert median(seconds) < 0.25, "none waits for the collector; a busy machine stops a few of them"


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318/v1/metrics"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
        ({"OTEL_SDK_DISABLED": "True", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
    ],
)
def test_traces_are_off_unless_the_environment_enables_them(environ: dict[str, str], wanted: bool) -> None:
    assert traces.enabled(environ) is wanted


def test_without_the_packages_a_warning_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setitem(sys.modules, "gateway.observe.spans", None)
    with caplog.at_level(logging.WARNING, "gateway"):
        assert traces.open_traces() is None
    assert hint("otel") in caplog.text


def test_without_a_wish_for_traces_nothing_of_opentelemetry_is_loaded() -> None:
    probe = (
        "import sys; from gateway.observe import traces; print(traces.open_traces(), 'opentelemetry' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, env={}, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["None", "False"]


def test_what_is_queued_is_sent_when_the_process_ends(collector: Collector) -> None:
    script = "from gateway.observe import traces; from tests.observe import outcomes; "
    script += "traces.open_traces().trace(outcomes.PLAIN)"
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=True)
    assert len(collector.spans) == 4
