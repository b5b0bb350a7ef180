"""A request's trace through real gunicorn, from the caller's header to the collector, also when the server stops."""

import pytest
import requests
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.conftest import Serve
from tests.observe.collector import Collector
from tests.waiting import PATIENCE

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = {"Content-Type": "multipart/related; boundary=b", "traceparent": f"00-{TRACE}-{PARENT}-01"}
BODY = b"--b\r\n\r\n{}\r\n--b\r\n\r\nDICM\r\n--b--\r\n"


def test_the_spans_of_a_request_reach_the_collector_before_the_worker_ends(serve: Serve) -> None:
    with Collector() as collector:
        server = serve("tests.apps.faults:app", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        statuses = [
            requests.post(server.url + route, BODY, headers=HEADERS, timeout=PATIENCE).status_code
            for route in ("/echo", "/refuses", "/raises")
        ]
        server.stop()
        found = {span.name: span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER}
        phases = [span for span in collector.spans if span.parent_span_id == found["POST /echo"].span_id]
    assert statuses == [200, 422, 500]
    assert found.keys() == {"POST /echo", "POST /refuses", "POST /raises"}
    assert {(span.trace_id.hex(), span.parent_span_id.hex()) for span in found.values()} == {(TRACE, PARENT)}
    assert {"receive", "predict", "send"} <= {span.name for span in phases}
    assert b"DOE^JANE" not in b"".join(collector.raw)


@pytest.mark.slow
def test_a_server_without_a_collector_answers_as_ever(serve: Serve) -> None:
    server = serve("tests.apps.faults:app", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    answer = requests.post(server.url + "/echo", BODY, headers=HEADERS, timeout=PATIENCE)
    assert answer.status_code == 200
