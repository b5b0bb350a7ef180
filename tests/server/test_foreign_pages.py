"""Pages of other sites in a browser, on servers that authenticate nobody: refused by Host and by origin."""

import pytest
import requests

from gateway import Gateway, Settings
from gateway.access import listeners
from gateway.endpoints.access_control import PROBES
from tests.conftest import Serve, Server
from tests.server.test_access import post
from tests.waiting import PATIENCE

VIEWER = "https://viewer.example"


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve("tests.apps.guarded:app", GATEWAY_ALLOWED_HOSTS="gateway.lan, Other.lan", GATEWAY_CORS_ORIGINS=VIEWER)


def status(url: str, path: str = "/who", **fields: str) -> int:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return requests.get(url + path, headers=headers, timeout=PATIENCE).status_code


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8900", "localhost", "LOCALHOST.:80", "[::1]:8900", "10.1.2.3", "gateway.lan:80", "other.LAN"]
)
def test_a_host_of_this_gateway_is_served(server: Server, host: str) -> None:
    assert status(server.url, Host=host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8900", "localhost.evil.example", "127.0.0.1.evil.example", "gateway.lan.x"]
)
def test_a_name_that_foreign_dns_may_resolve_is_misdirected(server: Server, host: str) -> None:
    answer = requests.get(server.url + "/who", headers={"Host": host}, timeout=PATIENCE)
    assert (answer.status_code, answer.json()["type"]) == (421, "urn:gateway:problem:misdirected-request")
    assert "evil" not in answer.text
    assert post(server.url, Host=host).status_code == 421


@pytest.mark.parametrize("path", sorted(PROBES))
def test_probes_answer_under_any_host_and_origin(server: Server, path: str) -> None:
    assert status(server.url, path, Host="10.0.0.9:8900", Origin="https://evil.example") in (200, 503)
    assert status(server.url, path, Host="pod.example", Sec_Fetch_Site="cross-site") in (200, 503)


@pytest.mark.parametrize(
    "fields",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000", "Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
    ],
)
def test_a_page_of_another_origin_is_forbidden(server: Server, fields: dict[str, str]) -> None:
    assert status(server.url, **fields) == 403
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    answer = post(server.url, **headers)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:gateway:problem:forbidden")


@pytest.mark.parametrize(
    "fields",
    [
        {"Sec_Fetch_Site": "same-origin", "Origin": "https://behind-a-proxy.example"},
        {"Sec_Fetch_Site": "none"},
        {"Origin": "http://127.0.0.1:8900", "Host": "127.0.0.1:8900"},
        {"Origin": VIEWER, "Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"},
    ],
)
def test_the_own_pages_a_trusted_origin_and_a_link_are_served(server: Server, fields: dict[str, str]) -> None:
    assert status(server.url, **fields) == 200


def test_an_allowed_host_is_a_name_or_everything() -> None:
    for text in ("https://gateway.lan", "gateway.lan:80", "*.lan", "a b"):
        with pytest.raises(ValueError, match="GATEWAY_ALLOWED_HOSTS"):
            Gateway("service", settings=Settings(allowed_hosts=text))


HOSTILE = {"HTTP_HOST": "evil.example", "HTTP_ORIGIN": "https://other.example"}


@pytest.mark.parametrize(
    ("addresses", "by_serve", "settings", "expected"),
    [
        ([("127.0.0.1", 8900)], False, {}, 421),
        ([("127.0.0.1", 8900)], False, {"allowed_hosts": "*"}, 403),
        ([("127.0.0.1", 8900)], False, {"allowed_hosts": "*", "cors_origins": "*"}, 200),
        ([("0.0.0.0", 8900)], False, {}, 200),
        ([("0.0.0.0", 8900)], False, {"allowed_hosts": "gateway.lan"}, 421),
        ([("0.0.0.0", 8900)], True, {"allow_anonymous": True}, 421),
        (["/run/gateway.sock"], True, {}, 200),
        ([], False, {}, 200),
    ],
)
def test_services_written_without_the_rules_go_on_beyond_loopback(
    addresses: list[listeners.Address],
    by_serve: bool,
    settings: dict[str, object],
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listeners._announced, "closed", by_serve)
    listeners.announce(addresses)
    app = Gateway("service", settings=Settings(**settings))
    app.add_url_rule("/who", "who", lambda: "anyone")
    assert app.test_client().get("/who", environ_overrides=HOSTILE).status_code == expected
