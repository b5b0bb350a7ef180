"""A spool folder without room: one status, one reason in the log and in the metrics, from the first refusal on."""

import requests

from tests.conftest import Serve
from tests.waiting import PATIENCE

BODY = b"--b\r\n\r\n{}\r\n--b\r\n\r\n" + bytes(9 << 20) + b"\r\n--b--\r\n"
SERIES = 'gateway_rejections_total{reason="storage-full",route="/count"}'


def test_a_full_spool_is_507_storage_full_in_answer_log_and_metrics(serve: Serve) -> None:
    server = serve("tests.apps.cramped:app", GATEWAY_SPOOL_THRESHOLD=str(1 << 20))
    metrics = server.url + "/metrics"
    assert f"{SERIES} 0.0" in requests.get(metrics, timeout=PATIENCE).text
    headers = {"Content-Type": "multipart/related; boundary=b"}
    answer = requests.post(server.url + "/count", BODY, headers=headers, timeout=PATIENCE)
    assert (answer.status_code, answer.json()["type"]) == (507, "urn:gateway:problem:storage-full")
    assert f"{SERIES} 1.0" in requests.get(metrics, timeout=PATIENCE).text
    server.stop()
    (line,) = [line for line in server.log.splitlines() if "storage-full" in line]
    assert "507 storage-full: spool: E" in line
