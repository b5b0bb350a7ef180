"""Each fault under real gunicorn has its status and a problem body, reveals no secret, and harms no other request."""

import hashlib
import json
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from requests_toolbelt import MultipartDecoder

from tests.conftest import Serve, Server
from tests.waiting import PATIENCE

B = "frontier"
TYPE = f"multipart/related; boundary={B}"


def body(*parts: bytes, close: str = "--\r\n") -> bytes:
    """A multipart body of parts without any header but the empty one."""
    return b"".join(b"--%s\r\n\r\n%s\r\n" % (B.encode(), part) for part in parts) + f"--{B}{close}".encode()


@pytest.fixture(scope="module")
def server(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    return serve(
        "tests.apps.faults:app",
        GATEWAY_MAX_BODY_BYTES=str(1 << 22),
        GATEWAY_MAX_PARTS="100",
        GATEWAY_MAX_JSON_BYTES="100000",
    )


def post(server: Server, route: str, data: object, kind: str = TYPE, **headers: str) -> requests.Response:
    return requests.post(server.url + route, data=data, headers={"Content-Type": kind, **headers}, timeout=PATIENCE)


def assert_problem(response: requests.Response, status: int, code: str) -> dict[str, object]:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, object] = response.json()
    assert problem["status"] == status
    assert str(problem["type"]).endswith(code)
    assert problem["request_id"] == response.headers["X-Request-ID"]
    assert problem["detail"]
    for secret in ("Traceback", "JANE", "/var/", ".py", "numpy", "pydicom", "flask", "werkzeug"):
        assert secret.lower() not in response.text.lower()
    return problem


def assert_serves(server: Server) -> None:
    response = post(server, "/echo", body(b'{"a": 1}', b"xyz"))
    assert response.status_code == 200
    answer = json.loads(MultipartDecoder.from_response(response).parts[0].text)
    assert answer["study_ml_json"]["sizes"] == [3]


DEEP = b"[" * 50_000 + b"]" * 50_000
REFUSED = {
    "truncated": (body(b"{}")[:-6], TYPE, 400, "broken-body"),
    "no closing boundary": (b"--frontier\r\n\r\n{}", TYPE, 400, "broken-body"),
    "wrong boundary": (body(b"{}"), "multipart/related; boundary=other", 400, "broken-body"),
    "no boundary": (body(b"{}"), "multipart/related", 400, "broken-body"),
    "empty body": (b"", TYPE, 400, "broken-body"),
    "no parts": (b"--frontier--\r\n", TYPE, 400, "broken-"),
    "first part no JSON": (body(b"DICM"), TYPE, 400, "broken-json"),
    "first part no object": (body(b"[1]"), TYPE, 400, "broken-json"),
    "first part not UTF-8": (body(b'{"a": "\xff"}'), TYPE, 400, "broken-json"),
    "first part not in its charset": (body(b'{"a": "\xe4"}'), TYPE + "; charset=us-ascii", 400, "broken-json"),
    "unknown charset": (body(b"{}"), TYPE + "; charset=zip", 400, "broken-json"),
    "nested too deep": (body(b'{"a": ' + DEEP[:40_000] + DEEP[-40_000:] + b"}"), TYPE, 400, "broken-json"),
    "too many parts": (body(b"{}", *[b""] * 100), TYPE, 413, "limit-exceeded"),
    "JSON too long": (body(b'{"a": "%s"}' % (b"x" * 200_000)), TYPE, 413, "limit-exceeded"),
    "body too long": (body(b"{}", bytes(1 << 22)), TYPE, 413, "limit-exceeded"),
    "part header too long": (b"--frontier\r\nX: " + b"y" * (1 << 20), TYPE, 413, "limit-exceeded"),
    "wrong media type": (body(b"{}"), "multipart/mixed; boundary=frontier", 415, "unsupported-media-type"),
    "JSON without a study": (b"{}", "application/json", 415, "unsupported-media-type"),
    "study path without a root": (b'{"studyPath": "x"}', "application/json", 415, "unsupported-media-type"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_faulty_request_is_refused_and_the_next_one_is_served(server: Server, fault: str) -> None:
    data, kind, status, code = REFUSED[fault]
    problem = assert_problem(post(server, "/echo", data, kind), status, code if code[-1] != "-" else "")
    if status == 413:
        assert str(problem["limit"]).startswith("max_")
    assert_serves(server)


def test_a_chunked_body_over_the_limit_is_refused_as_it_arrives(server: Server) -> None:
    pieces = (body(b"{}", bytes(1 << 22))[start : start + 65536] for start in range(0, 5 << 20, 65536))
    problem = assert_problem(post(server, "/echo", pieces), 413, "limit-exceeded")
    assert problem["limit"] == "max_body_bytes"
    assert_serves(server)


def test_any_content_encoding_is_refused(server: Server) -> None:
    assert_problem(post(server, "/echo", body(b"{}"), **{"Content-Encoding": "gzip"}), 415, "unsupported-media-type")


def test_the_study_root_is_named_where_it_is_not_set(server: Server) -> None:
    problem = post(server, "/echo", b'{"studyPath": "x"}', "application/json").json()
    assert "study_root" in problem["detail"]


FAILED = {
    "refuses": (422, "study-refused"),
    "raises": (500, "model-failed"),
    "invalid": (500, "answer-invalid"),
    "nothing": (500, "answer-invalid"),
    "exits": (500, "model-failed"),
}


@pytest.mark.parametrize("route", FAILED)
def test_a_failing_model_is_a_problem_and_the_next_request_is_served(server: Server, route: str) -> None:
    status, code = FAILED[route]
    problem = assert_problem(post(server, f"/{route}", body(b"{}")), status, code)
    if route == "refuses":
        assert problem["detail"] == "The series has 3 slices; at least 20 are needed."
    if route == "invalid":
        assert problem["pointer"] == "/parts"
    assert_serves(server)


def test_the_text_of_an_exception_stays_out_of_the_log_but_its_frames_do_not(server: Server) -> None:
    post(server, "/raises", body(b"{}"))
    assert "DOE^JANE" not in server.log
    assert "secret.dcm" not in server.log
    assert "RuntimeError" in server.log
    assert "raises" in server.log


def test_an_unknown_route_and_a_wrong_method_are_problems(server: Server) -> None:
    missing = requests.get(server.url + "/nowhere", timeout=PATIENCE)
    wrong = requests.get(server.url + "/echo", timeout=PATIENCE)
    assert [missing.status_code, wrong.status_code] == [404, 405]
    assert {r.headers["Content-Type"] for r in (missing, wrong)} == {"application/problem+json"}
    assert "POST" in wrong.headers["Allow"]


@pytest.mark.parametrize("given", ["f47ac10b-58cc-4372-a567-0e02b2c3d479", "0123456789abcdef0123456789abcdef"])
def test_a_request_id_that_cannot_be_a_name_is_used_as_it_is(server: Server, given: str) -> None:
    assert post(server, "/echo", body(b"{}"), **{"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["abc-123", "Doe.Jane", "DOE^JANE 1"])
def test_any_other_request_id_stands_as_its_digest(server: Server, given: str) -> None:
    found = post(server, "/echo", body(b"{}"), **{"X-Request-ID": given}).headers["X-Request-ID"]
    assert found == hashlib.sha256(given.encode()).hexdigest()[:32]


def test_a_client_that_disconnects_in_the_middle_harms_no_other(server: Server) -> None:
    address = urlsplit(server.url)
    head = f"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: {TYPE}\r\nContent-Length: 1000\r\n\r\n"
    for sent in (b"", b"--fron", body(b"{}")[:20]):
        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall(head.encode() + sent)
    assert_serves(server)


def test_a_body_that_ends_early_is_answered_400_where_the_client_still_listens(server: Server) -> None:
    address = urlsplit(server.url)
    data = body(b"{}", b"pixels")
    head = f"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: {TYPE}\r\nContent-Length: {len(data) + 10}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port)) as client:
        client.sendall(head.encode() + data)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_a_large_answer_leaves_whole_and_with_its_length(server: Server) -> None:
    response = post(server, "/mask", body(b'{"shape": [20, 512, 512]}'))
    decoded = MultipartDecoder.from_response(response)
    assert int(response.headers["Content-Length"]) == len(response.content)
    assert decoded.parts[1].content == b"\1" * (20 * 512 * 512)
    output = hashlib.sha256(decoded.parts[0].content + decoded.parts[1].content).hexdigest()
    digest = hashlib.sha256(b'{"shape": [20, 512, 512]}').hexdigest()
    assert decoded.parts[2].text == f"{digest}:{output}"


def test_the_probes_answer_while_no_service_has_rules_for_them(server: Server) -> None:
    for method in ("GET", "POST"):
        assert requests.request(method, server.url + "/ping", timeout=PATIENCE).text == (
            "inference-service is up and accepting connections"
        )
        assert requests.request(method, server.url + "/healthcheck", timeout=PATIENCE).text == "READY"


def test_no_file_is_left_behind_by_a_spooled_request(serve: Serve, tmp_path: Path) -> None:
    server = serve("tests.apps.faults:app", GATEWAY_SPOOL_THRESHOLD="1000", GATEWAY_SPOOL_FOLDER=str(tmp_path))
    response = post(server, "/echo", body(b"{}", bytes(100_000), b"abc"))
    answer = json.loads(MultipartDecoder.from_response(response).parts[0].text)
    assert answer["study_ml_json"]["sizes"] == [100_000, 3]
    assert list(tmp_path.iterdir()) == []
