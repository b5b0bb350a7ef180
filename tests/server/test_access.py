"""Access control under real gunicorn: accepted credentials, and the responses to others."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from gateway import Gateway, Settings
from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller, Role
from gateway.access.callers_file import CallerEntry, change
from gateway.cli import main
from tests.access.issuer import AUDIENCE, ISSUER, Issuer, assembled, claims, jwk, rsa_key, token
from tests.conftest import ROOT, Serve, Server
from tests.waiting import PATIENCE, eventually

TYPE = "multipart/related; boundary=b"
BODY = b"--b\r\n\r\n{}\r\n--b--\r\n"


def post(url: str, proof: str = "", route: str = "/echo", data: bytes = BODY, **headers: str) -> requests.Response:
    given = {"Content-Type": TYPE, **({"Authorization": f"Bearer {proof}"} if proof else {}), **headers}
    return requests.post(url + route, data=data, headers=given, timeout=PATIENCE)


class Callers:
    """A file of callers, and the keys that only the test still knows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        change(path, lambda entries: entries)

    def add(self, name: str, *roles: Role, **rest: Any) -> str:
        key = new_key()
        routes = rest.pop("routes", ("*",))
        entry = CallerEntry(Caller(name, frozenset(roles), routes), fingerprint(key), **rest)
        change(self.path, lambda entries: [*entries, entry])
        return key

    def revoke(self, name: str) -> None:
        change(self.path, lambda entries: [entry for entry in entries if entry.caller.name != name])


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Callers:
    return Callers(tmp_path_factory.mktemp("callers") / "callers.json")


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer(jwk(rsa_key("one"), "one")).listening() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def server(serve: Serve, callers: Callers, issuer: Issuer) -> Server:
    return serve(
        "tests.apps.guarded:app",
        "--workers",
        "2",
        GATEWAY_API_KEYS_FILE=str(callers.path),
        GATEWAY_JWT_JWKS=issuer.url,
        GATEWAY_JWT_ISSUER=ISSUER,
        GATEWAY_JWT_AUDIENCE=AUDIENCE,
        GATEWAY_JWKS_MIN_INTERVAL="0.001",
        GATEWAY_CORS_ORIGINS="https://viewer.example",
        NO_PROXY="*",
    )


def assert_refused(answer: requests.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"].endswith(code)
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
    assert answer.headers["Cache-Control"] == "no-store"
    if status in (401, 403):
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


def test_a_caller_without_credentials_is_refused(server: Server) -> None:
    assert_refused(post(server.url), 401, ":unauthenticated")
    assert "error=" not in post(server.url).headers["WWW-Authenticate"]
    for path in ("/who", "/docs", "/openapi.json", "/metrics", "/no-such-path", "/page", "/ping/"):
        assert_refused(requests.get(server.url + path, timeout=30, allow_redirects=False), 401, ":unauthenticated")
    assert_refused(requests.delete(server.url + "/kept", timeout=PATIENCE), 401, ":unauthenticated")


def test_a_key_opens_by_either_header_and_names_its_caller(server: Server, callers: Callers) -> None:
    key = callers.add("viewer", "infer")
    assert post(server.url, key).status_code == 200
    assert post(server.url, **{"X-API-Key": key}).status_code == 200
    found = requests.get(server.url + "/who", headers={"Authorization": f"bearer {key}"}, timeout=PATIENCE)
    assert found.json() == {"name": "viewer", "reasons": True}
    for answer in (post(server.url, key[:-1]), post(server.url, key, **{"X-API-Key": key + "x"})):
        assert_refused(answer, 401, ":unauthenticated")
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_revoked_key_opens_no_more_in_any_worker_without_a_restart(server: Server, callers: Callers) -> None:
    key = callers.add("leaver", "infer")
    assert {post(server.url, key).status_code for _ in range(10)} == {200}
    callers.revoke("leaver")
    assert {post(server.url, key).status_code for _ in range(10)} == {401}


def test_a_key_made_and_revoked_on_the_command_line_does_the_same(
    server: Server, callers: Callers, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ["--file", str(callers.path)]
    assert main(["keys", "add", "typed", "--routes", "/echo", "--expires", "1d", *file]) == 0
    key = capsys.readouterr().out.strip()
    assert post(server.url, key).status_code == 200
    assert_refused(post(server.url, key, "/other"), 403, ":forbidden")
    assert main(["keys", "add", "typed", *file]) == 1
    assert main(["keys", "list", *file]) == 0
    listed = capsys.readouterr().out
    assert "typed  infer  /echo  key  until 20" in listed
    assert key not in listed
    assert main(["keys", "revoke", "typed", *file]) == 0
    assert post(server.url, key).status_code == 401
    assert main(["keys", "revoke", "typed", *file]) == 1


def test_roles_and_routes_bound_what_a_caller_may_do(server: Server, callers: Callers) -> None:
    key = callers.add("narrow", "infer", routes=("/other",))
    assert post(server.url, key, "/other").status_code == 200
    assert_refused(post(server.url, key), 403, ":forbidden")
    reader, admin = callers.add("reader", "read"), callers.add("chief", "admin")
    assert_refused(post(server.url, reader), 403, ":forbidden")
    for key, status in ((reader, 403), (admin, 204), (callers.add("cleaner", "delete"), 204)):
        proof = {"Authorization": f"Bearer {key}"}
        assert requests.delete(server.url + "/kept", headers=proof, timeout=PATIENCE).status_code == status
    assert post(server.url, admin).status_code == 200
    assert post(server.url, reader, "/admin").status_code == 403
    assert post(server.url, admin, "/admin").status_code == 204


def test_a_key_opens_nothing_once_it_has_expired(server: Server, callers: Callers) -> None:
    for seconds in (1, 10, 100):  # a busy machine may not get to use a short one in time
        key = callers.add(f"late-{seconds}", "infer", expires=datetime.now(UTC) + timedelta(seconds=seconds))
        if post(server.url, key).status_code == 200:
            break
    else:
        pytest.fail("a key that had not expired opened nothing")
    eventually(lambda: post(server.url, key).status_code != 200)
    assert_refused(post(server.url, key), 401, ":unauthenticated")


NOW = int(time.time())
BAD_TOKENS: dict[str, Callable[[], str]] = {
    "alg none": lambda: assembled({"alg": "none", "kid": "one"}, claims()),
    "an unsigned copy of a good one": lambda: token(rsa_key("one")).rpartition(".")[0] + ".",
    "another audience": lambda: token(rsa_key("one"), aud="other"),
    "another issuer": lambda: token(rsa_key("one"), iss="https://other.example"),
    "expired": lambda: token(rsa_key("one"), exp=NOW - 3600),
    "not valid yet": lambda: token(rsa_key("one"), nbf=NOW + 3600),
    "another key": lambda: token(rsa_key("two")),
    "nonsense": lambda: "a.b.c",
}


@pytest.mark.parametrize("case", BAD_TOKENS)
def test_a_token_that_is_not_for_here_and_now_is_refused(server: Server, case: str) -> None:
    assert_refused(post(server.url, BAD_TOKENS[case]()), 401, ":unauthenticated")


def test_a_token_opens_what_its_roles_allow(server: Server) -> None:
    assert post(server.url, token(rsa_key("one"))).status_code == 200
    assert_refused(post(server.url, token(rsa_key("one"), roles=["read"])), 403, ":forbidden")


@pytest.mark.slow
def test_the_issuer_may_change_its_keys_while_the_server_runs(server: Server, issuer: Issuer) -> None:
    was = issuer.keys
    try:
        issuer.keys = [jwk(rsa_key("two"), "two")]
        eventually(lambda: ten_answers(server, "two") == {200})
        eventually(lambda: ten_answers(server, "one") == {401})
    finally:
        issuer.keys = was
    eventually(lambda: ten_answers(server, "one") == {200})


def ten_answers(server: Server, key: str) -> set[int]:
    """So many that each worker gets some; an issuer on a busy machine may delay them for too long."""
    return {post(server.url, token(rsa_key(key), key)).status_code for _ in range(10)}


@pytest.mark.parametrize("proof", ["", "gw_wrong", "a.b.c"])
def test_probes_answer_anyone_but_give_reasons_to_identified_callers_only(
    server: Server, callers: Callers, proof: str
) -> None:
    headers = {"Authorization": f"Bearer {proof}"} if proof else {}
    assert requests.get(server.url + "/ping", headers=headers, timeout=PATIENCE).status_code == 200
    health = requests.get(server.url + "/healthcheck", headers=headers, timeout=PATIENCE).json()
    assert health == {"name": None, "reasons": False}


def test_probes_know_who_shows_a_key(server: Server, callers: Callers) -> None:
    proof = {"X-API-Key": callers.add("monitor")}
    health = requests.get(server.url + "/healthcheck", headers=proof, timeout=PATIENCE).json()
    assert health == {"name": "monitor", "reasons": True}


def test_an_unknown_caller_is_refused_before_the_body_is_sent(server: Server) -> None:
    head = f"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: {TYPE}\r\nContent-Length: {1 << 33}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(head.encode())  # and nothing of the body
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-User": "admin", "X-Client-Cert": "CN=admin"},
        {"Forwarded": "for=127.0.0.1", "X-Real-IP": "127.0.0.1", "Host": "localhost"},
        {"gateway.caller": "admin", "Gateway-Caller": "admin"},
        {"Authorization": "Basic YWRtaW46YWRtaW4="},
    ],
)
def test_no_header_speaks_for_a_caller(server: Server, headers: dict[str, str]) -> None:
    assert_refused(post(server.url, **headers), 401, ":unauthenticated")


def test_what_is_refused_reaches_nothing_of_the_services_own(server: Server, callers: Callers) -> None:
    requests.get(server.url + "/who?refused", timeout=PATIENCE)
    before = server.log.count("HOOKED /who")
    assert requests.get(server.url + "/who", timeout=PATIENCE).status_code == 401
    assert server.log.count("HOOKED /who") == before
    requests.get(server.url + "/who", headers={"X-API-Key": callers.add("hooked")}, timeout=PATIENCE)
    assert server.log.count("HOOKED /who") == before + 1


def test_names_are_logged_and_keys_and_tokens_never(server: Server, callers: Callers) -> None:
    key, signed = callers.add("logged", "read"), token(rsa_key("one"), roles=[], sub="carol")
    bad = token(rsa_key("two"))
    for proof in (key, signed, bad, key + "x"):
        post(server.url, proof)
    assert "caller logged" in server.log
    assert "caller carol" in server.log
    for secret in (key, fingerprint(key), signed, bad, signed.rpartition(".")[2], bad.rpartition(".")[2]):
        assert secret[:60] not in server.log


def test_every_response_has_the_security_headers(server: Server, callers: Callers) -> None:
    key = {"X-API-Key": callers.add("browser", "infer")}
    answers = [
        post(server.url, **key),
        post(server.url),
        requests.get(server.url + "/ping", timeout=PATIENCE),
        requests.get(server.url + "/docs", headers=key, timeout=PATIENCE),
        requests.get(server.url + "/page", headers=key, timeout=PATIENCE),
    ]
    for answer in answers:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
    *ours, docs, page = (answer.headers.get("Content-Security-Policy") for answer in answers)
    assert all(policy is not None and policy.startswith("default-src 'none'; base-uri") for policy in ours)
    assert docs is not None
    assert "script-src 'unsafe-inline'" in docs
    assert page is None


def test_a_page_may_send_requests_from_the_configured_origins_only(server: Server, callers: Callers) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    good = requests.options(
        server.url + "/echo", headers={"Origin": "https://viewer.example", **asks}, timeout=PATIENCE
    )
    assert good.status_code == 204
    assert good.headers["Access-Control-Allow-Origin"] == "https://viewer.example"
    assert "Authorization" in good.headers["Access-Control-Allow-Headers"]
    for origin in ("https://evil.example", "null", "https://viewer.example.evil.example"):
        bad = requests.options(server.url + "/echo", headers={"Origin": origin, **asks}, timeout=PATIENCE)
        assert bad.status_code == 401
        assert "Access-Control-Allow-Origin" not in bad.headers
    answer = post(server.url, callers.add("page", "infer"), Origin="https://viewer.example")
    assert answer.headers["Access-Control-Allow-Origin"] == "https://viewer.example"
    assert "Origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    told = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {name for name in answer.headers if name.startswith("X-")} - {"X-Content-Type-Options"} <= set(told)


def test_no_caller_is_admitted_while_the_file_is_unreadable(serve: Serve, tmp_path: Path) -> None:
    callers = Callers(tmp_path / "callers.json")
    key = callers.add("one", "infer")
    server = serve("tests.apps.guarded:app", GATEWAY_API_KEYS_FILE=str(callers.path))
    assert post(server.url, key).status_code == 200
    good = callers.path.read_bytes()
    callers.path.write_text("{")
    answer = post(server.url, key)
    assert_refused(answer, 503, ":unavailable")
    assert str(tmp_path) not in answer.text
    assert str(callers.path) in server.log
    assert requests.get(server.url + "/ping", headers={"X-API-Key": key}, timeout=PATIENCE).status_code == 200
    callers.path.write_bytes(good)
    assert post(server.url, key).status_code == 200


WARNING = "without authentication"


@pytest.mark.parametrize("how", ["serve", "gunicorn -c"])
def test_a_server_beyond_loopback_without_authentication_warns_once(serve: Serve, how: str, tmp_path: Path) -> None:
    if how == "serve":
        server = serve("tests.apps.guarded:app", "--host", "0.0.0.0", "--workers", "2", "--allow-anonymous")
    else:
        server = gunicorn(tmp_path, "0.0.0.0:0")
    try:
        assert {post(server.url, **{"X-Forwarded-For": "10.0.0.1"}).status_code for _ in range(4)} == {200}
        assert server.log.count(WARNING) == 1
        health = requests.get(server.url + "/healthcheck", timeout=PATIENCE).json()
        assert health == {"name": None, "reasons": False}  # though it is asked from loopback
        assert post(server.url, route="/admin").status_code == 403
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("how", "environment", "sentence"),
    [
        ("serve", {}, "--allow-anonymous"),
        ("serve", {"GATEWAY_API_KEY_FILE": "keys.json", "GATEWAY_ALLOW_ANONYMOUS": "1"}, "GATEWAY_API_KEYS_FILE"),
        ("gunicorn -c", {"GATEWAY_API_KEY_FILE": "keys.json"}, "use GATEWAY_API_KEYS_FILE"),
    ],
)
def test_a_server_beyond_loopback_is_never_open_by_mistake(
    how: str, environment: dict[str, str], sentence: str
) -> None:
    command = {
        "serve": ["gateway", "serve", "tests.apps.guarded:app", "--host", "0.0.0.0", "--port", "0"],
        "gunicorn -c": [
            "gunicorn",
            "-c",
            "python:gateway.gunicorn_conf",
            "--bind",
            "0.0.0.0:0",
            "tests.apps.guarded:app",
        ],
    }[how]
    ended = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode in (1, 3)
    (line,) = [line for line in ended.stderr.splitlines() if sentence in line]
    assert "Traceback" not in ended.stderr


def gunicorn(folder: Path, bind: str) -> Server:
    """Plain gunicorn with the documented configuration."""
    command = [sys.executable, "-m", "gunicorn", "-c", "python:gateway.gunicorn_conf", "--bind", bind]
    return Server([*command, "--workers", "2", "tests.apps.guarded:app"], folder, {})


def test_a_server_on_loopback_needs_no_credentials_and_gives_reasons(serve: Serve) -> None:
    server = serve("tests.apps.guarded:app")
    assert post(server.url, **{"X-Forwarded-For": "203.0.113.7"}).status_code == 200
    health = requests.get(server.url + "/healthcheck", headers={"X-Forwarded-For": "203.0.113.7"}, timeout=PATIENCE)
    assert health.json() == {"name": None, "reasons": True}
    assert post(server.url, route="/admin").status_code == 204
    assert WARNING not in server.log
    answer = requests.get(server.url + "/ping", headers={"Origin": "https://viewer.example"}, timeout=PATIENCE)
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    ("docs", "metrics", "stranger", "known"),
    [("anyone", "off", [200, 200, 404], [200, 200, 404]), ("off", "anyone", [404, 404, 200], [404, 404, 200])],
)
def test_docs_and_metrics_are_shown_as_set(
    tmp_path: Path, docs: str, metrics: str, stranger: list[int], known: list[int]
) -> None:
    callers = Callers(tmp_path / "callers.json")
    key = callers.add("one")
    app = Gateway(__name__, settings=Settings(api_keys_file=callers.path, expose_docs=docs, expose_metrics=metrics))
    client = app.test_client()
    paths = ("/docs", "/openapi.json", "/metrics")
    assert [client.get(path).status_code for path in paths] == stranger
    assert [client.get(path, headers={"X-API-Key": key}).status_code for path in paths] == known


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"expose_docs": "everyone"}, "expose_docs"),
        ({"cors_origins": "viewer.example"}, "cors_origins"),
        ({"cors_origins": "https://viewer.example/"}, "cors_origins"),
        ({"caller_rate": 1}, "need authentication"),
        ({"jwt_jwks": "jwks.json"}, "jwt_issuer"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_at_once(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Gateway(__name__, settings=Settings(**settings))


def test_a_server_whose_file_of_callers_is_missing_does_not_start(serve: Serve, tmp_path: Path) -> None:
    server = serve("tests.apps.guarded:app", GATEWAY_API_KEYS_FILE=str(tmp_path / "none"))
    assert server.process.wait(60) != 0
    assert "python -m gateway keys add NAME writes it" in server.log


def told(server: Server, key: str, **labels: str) -> float:
    """The gateway's count of refused requests with these labels."""
    text = requests.get(server.url + "/metrics", headers={"X-API-Key": key}, timeout=PATIENCE).text
    found = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return sum(one.value for one in found if one.name == "gateway_rejections_total" and one.labels == labels)


def test_a_refused_caller_is_counted_and_no_path_that_it_sends_becomes_a_label(
    server: Server, callers: Callers
) -> None:
    key = callers.add("counting", "read")
    cases = [("/echo", "unauthenticated", ""), ("/echo", "forbidden", key), ("/no-such-path", "unauthenticated", "")]
    for path, reason, proof in cases:
        route = path if path == "/echo" else "other"
        before = told(server, key, route=route, reason=reason)
        post(server.url, proof, path)
        assert told(server, key, route=route, reason=reason) == before + 1
    answer = requests.get(server.url + "/metrics", headers={"X-API-Key": key}, timeout=PATIENCE)
    assert "no-such-path" not in answer.text


def test_a_token_is_not_taken_for_a_caller_of_the_file(server: Server, callers: Callers) -> None:
    signed = token(rsa_key("one"), sub="archive")
    assert post(server.url, signed).status_code == 200
    callers.add("archive", "read")
    assert_refused(post(server.url, signed), 401, ":unauthenticated")
    callers.revoke("archive")
    assert post(server.url, signed).status_code == 200


@pytest.mark.slow
def test_no_header_makes_one_path_of_another(serve: Serve, tmp_path: Path) -> None:
    for server in (serve("tests.apps.guarded:app"), gunicorn(tmp_path, "127.0.0.1:0")):
        lines = b"GET /public/who HTTP/1.1\r\nHost: localhost\r\nSCRIPT_NAME: /public\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
            connection.sendall(lines)
            assert b" 500 " in connection.recv(4096)  # the service's own handler, of a path that is nobody's
        server.stop()
