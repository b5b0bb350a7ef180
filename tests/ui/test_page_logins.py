"""Logins at /ui: a key for a cookie, what the cookie may do, and when it ends."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway import Gateway, Settings
from gateway.access.api_keys import KeyRing, fingerprint, new_key
from gateway.access.browser_logins import COOKIE, BrowserLogins, cookie_of, secret_of
from gateway.access.callers import Caller, Role
from gateway.access.callers_file import CallerEntry, change
from gateway.errors import Unauthenticated
from tests.server.test_access import Callers

OWN = {"Origin": "http://localhost", "Host": "localhost"}
BODY = {"data": b"--b\r\n\r\n{}\r\n--b--\r\n", "content_type": "multipart/related; boundary=b"}


@pytest.fixture
def callers(tmp_path: Path) -> Callers:
    return Callers(tmp_path / "callers.json")


@pytest.fixture
def client(callers: Callers) -> FlaskClient:
    app = Gateway("page", settings=Settings(ui="on", api_keys_file=callers.path))
    app.add_inference_route("/echo", lambda json, files, digest: (json | {"protocol_version": "1.0", "parts": []}, []))
    return app.test_client()


def log_in(client: FlaskClient, key: str, **headers: str) -> Any:
    return client.post("/ui/login", json={"key": key}, headers=OWN | headers)


def csrf(client: FlaskClient) -> dict[str, str]:
    return {"X-CSRF-Token": client.get("/ui/config").get_json()["csrf"]}


def test_nothing_shows_before_a_key_is_given(client: FlaskClient, callers: Callers) -> None:
    callers.add("reader", "infer")
    assert client.get("/ui/").status_code == client.get("/ui/app.js").status_code == 200
    for path in ("/ui/config", "/ui/models"):
        assert client.get(path).status_code == 401
    assert client.post("/ui/pictures", data=b"x", content_type="application/dicom").status_code == 401


def test_a_key_becomes_a_cookie_that_scripts_cannot_read_and_that_has_no_key(
    client: FlaskClient, callers: Callers
) -> None:
    key = callers.add("reader", "infer", "read")
    response = log_in(client, key)
    assert response.status_code == 204
    cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert key not in cookie
    config = client.get("/ui/config").get_json()
    assert config["caller"] == {"name": "reader", "roles": ["infer", "read"]}


def test_a_cookie_over_tls_is_never_sent_without(client: FlaskClient, callers: Callers) -> None:
    key = callers.add("reader", "infer")
    response = client.post(
        "/ui/login", json={"key": key}, base_url="https://localhost", headers={"Origin": "https://localhost"}
    )
    assert "Secure" in response.headers["Set-Cookie"]


def test_what_changes_something_needs_the_value_of_the_page(client: FlaskClient, callers: Callers) -> None:
    log_in(client, callers.add("reader", "infer"))
    assert client.post("/echo", **BODY).status_code == 403
    assert client.post("/echo", headers={"X-CSRF-Token": "0" * 64}, **BODY).status_code == 403
    assert client.post("/echo", headers=csrf(client), **BODY).status_code == 200


def test_a_page_of_another_origin_is_refused_with_the_cookie(client: FlaskClient, callers: Callers) -> None:
    log_in(client, callers.add("reader", "infer"))
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert client.get("/ui/models", headers=foreign).status_code == 403
    assert client.post("/echo", headers=csrf(client) | foreign, **BODY).status_code == 403


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {}])
def test_another_site_logs_nobody_in_or_out(client: FlaskClient, callers: Callers, headers: dict[str, str]) -> None:
    key = callers.add("reader", "infer")
    refused = [client.post("/ui/login", json={"key": key}, headers=headers), client.post("/ui/logout", headers=headers)]
    assert [one.status_code for one in refused] == [403, 403]
    assert not any("Set-Cookie" in one.headers for one in refused)


@pytest.mark.parametrize("words", [{}, {"key": ""}, {"key": 1}, {"key": ["a"]}, []])
def test_a_login_without_a_key_is_refused_in_words(client: FlaskClient, words: Any) -> None:
    response = client.post("/ui/login", json=words, headers=OWN)
    assert response.status_code in (400, 422)
    assert response.get_json()["detail"]


def test_an_unknown_key_logs_nobody_in_and_is_not_in_the_log(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    key = new_key()
    response = log_in(client, key)
    assert response.status_code == 401
    assert "Set-Cookie" not in response.headers
    assert key not in caplog.text


def test_a_key_in_an_address_counts_for_nothing(client: FlaskClient, callers: Callers) -> None:
    key = callers.add("reader", "infer")
    assert client.get(f"/ui/config?key={key}").status_code == 401


def test_a_removed_caller_is_logged_out(client: FlaskClient, callers: Callers) -> None:
    log_in(client, callers.add("reader", "infer"))
    assert client.get("/ui/models").status_code == 200
    callers.revoke("reader")
    assert client.get("/ui/models").status_code == 401
    callers.add("reader", "infer", "admin")  # the same name, with another key
    assert client.get("/ui/models").status_code == 401


def test_logging_out_removes_the_cookie(client: FlaskClient, callers: Callers) -> None:
    log_in(client, callers.add("reader", "infer"))
    assert client.post("/ui/logout", headers=OWN).status_code == 204
    assert client.get("/ui/config").status_code == 401


def test_a_key_in_the_head_goes_before_a_cookie(client: FlaskClient, callers: Callers) -> None:
    log_in(client, callers.add("reader", "infer"))
    other = callers.add("other", "infer")
    response = client.post("/echo", headers={"Authorization": f"Bearer {other}"}, **BODY)
    assert response.status_code == 200


def test_a_gateway_without_keys_needs_no_login() -> None:
    client = Gateway("page", settings=Settings(ui="on")).test_client()
    assert log_in(client, "x").status_code == 403
    assert client.get("/ui/config").get_json()["authentication"] is False


def forged(words: str) -> str:
    return words + "~" + "0" * 64


@pytest.mark.parametrize(
    "cookie",
    ["", "x", "~~", "reader", "reader~", forged("reader~9999999999"), forged("~1"), "reader~1~é", "a.b.c", "~" * 5000],
)
def test_a_forged_cookie_is_nobodys(client: FlaskClient, callers: Callers, cookie: str) -> None:
    callers.add("reader", "infer")
    response = client.get("/ui/config", headers={"Cookie": f"{COOKIE}={cookie}"})
    assert response.status_code == 401


class TestLogins:
    """The cookie itself, by its clock and its secrets."""

    SECRET = bytes(32)

    def ring(self, tmp_path: Path, name: str, digest: str, expires: datetime | None = None) -> KeyRing:
        roles: frozenset[Role] = frozenset({"infer"})
        change(tmp_path / "f", lambda _: [CallerEntry(Caller(name, roles), digest, expires=expires)])
        return KeyRing(tmp_path / "f")

    def entry(self, keys: KeyRing) -> CallerEntry:
        found = keys.of_name("reader")
        assert found is not None
        return found

    def test_it_ends_with_its_time(self, tmp_path: Path) -> None:
        keys = self.ring(tmp_path, "reader", fingerprint("k"))
        logins = BrowserLogins(self.SECRET, 100)
        login = logins.of_entry(self.entry(keys), now=1000)
        assert login.seconds == 100
        assert logins.entry_of(login.cookie, keys, now=1099).caller.name == "reader"
        with pytest.raises(Unauthenticated):
            logins.entry_of(login.cookie, keys, now=1100)

    def test_it_ends_with_its_key(self, tmp_path: Path) -> None:
        now = datetime.now(UTC)
        keys = self.ring(tmp_path, "reader", fingerprint("k"), now + timedelta(seconds=10))
        assert BrowserLogins(self.SECRET, 100).of_entry(self.entry(keys), now=now.timestamp()).seconds <= 10

    def test_another_server_or_key_does_not_accept_it(self, tmp_path: Path) -> None:
        keys = self.ring(tmp_path, "reader", fingerprint("k"))
        login = BrowserLogins(self.SECRET, 100).of_entry(self.entry(keys))
        with pytest.raises(Unauthenticated):
            BrowserLogins(bytes([1] * 32), 100).entry_of(login.cookie, keys)
        with pytest.raises(Unauthenticated):
            BrowserLogins(self.SECRET, 100).entry_of(login.cookie, self.ring(tmp_path, "reader", fingerprint("other")))

    def test_hosts_with_one_secret_accept_each_others(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(bytes([7] * 32))
        secrets = [secret_of(tmp_path / "secret", bytes([own] * 32)) for own in range(2)]
        assert secrets[0] == secrets[1]
        assert secret_of(None, self.SECRET) == self.SECRET
        (tmp_path / "edited").write_bytes((tmp_path / "secret").read_bytes() + b"\n")
        assert secret_of(tmp_path / "edited", self.SECRET) == secrets[0]
        (tmp_path / "random").write_bytes(b"\n" + bytes(30) + b" ")  # bytes that happen to be white space
        assert secret_of(tmp_path / "random", self.SECRET)
        (tmp_path / "short").write_bytes(b"x")
        (tmp_path / "blank").write_bytes(b" " * 32)  # all files of blanks would be one secret
        for name in ("short", "blank", "none"):
            with pytest.raises(ValueError, match="GATEWAY_UI_SECRET_FILE"):
                secret_of(tmp_path / name, self.SECRET)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"a=b; {COOKIE}=x~1~y; c=d", "x~1~y"),
        (f'broken="; {COOKIE}=x', "x"),
        (f"other{COOKIE}=x", ""),
        ("", ""),
    ],
)
def test_the_cookie_is_found_among_others(text: str, found: str) -> None:
    assert cookie_of({"HTTP_COOKIE": text}) == found
