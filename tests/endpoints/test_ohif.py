"""OHIF's address: its files under a policy of their own, and the gateway's DICOMweb, which it only reads."""

import base64
import gzip
import hashlib
import io
import json
import re
from pathlib import Path

import pytest
import requests
from werkzeug.test import Client, TestResponse

from gateway import Settings
from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from gateway.dicom.reading.instances import read_instance
from gateway.endpoints.ohif import OhifViewer
from tests.apps import durable
from tests.commands import command
from tests.conftest import Serve, Server
from tests.endpoints.dicomweb.web import AS_STORED, BOUNDARY, PARTS, body
from tests.endpoints.test_runs_over_http import ended, sent
from tests.ports import free_port
from tests.studies.files import files

HERE = "http://viewer.example:3000"
INLINE = 'window.PUBLIC_URL="/"'
PAGE = f'<!doctype html><script>{INLINE}</script><script defer src="/app.js"></script><div id="root"></div>'
KEY = new_key()
CALLER = ("viewer", KEY)
ONE = files(1, study="ohif")[0].data
HEADER = read_instance(io.BytesIO(ONE)).header
INSTANCE = (
    f"/dicomweb/studies/{HEADER.StudyInstanceUID}/series/{HEADER.SeriesInstanceUID}/instances/{HEADER.SOPInstanceUID}"
)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a build, as npm lays them out."""
    folder: Path = tmp_path_factory.mktemp("ohif") / "dist"
    (folder / "assets").mkdir(parents=True)
    contents = {"index.html": PAGE, "app-config.js": "window.config = 'theirs'", "app.js": "1", "code.wasm": "\0asm"}
    for name, text in contents.items():
        (folder / name).write_text(text)
    (folder / "assets" / "icon.svg").write_text("<svg/>")
    (folder.parent / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    return folder


@pytest.fixture(scope="module")
def alone(dist: Path) -> Client:
    """OHIF without a gateway behind it."""
    return Client(OhifViewer(dist, f"http://127.0.0.1:{free_port()}"))


def asked(client: Client, path: str, method: str = "GET", **headers: str) -> TestResponse:
    return client.open(path, base_url=HERE, method=method, headers=headers, buffered=True)


@pytest.mark.parametrize("path", ["/", "/index.html", "/viewer?StudyInstanceUIDs=1.2.3", "/segmentation/dicomweb"])
def test_each_address_within_ohif_is_its_page(alone: Client, path: str) -> None:
    assert asked(alone, path).text == PAGE


def test_the_policy_allows_the_scripts_of_the_page_and_nothing_of_another_origin(alone: Client) -> None:
    headers = asked(alone, "/").headers
    policy = dict(words.split(" ", 1) for words in headers["Content-Security-Policy"].split("; "))
    digest = base64.b64encode(hashlib.sha256(INLINE.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy["script-src"]
    assert "'unsafe-inline'" not in policy["script-src"]
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert not re.search(r"https?:|\*", " ".join(policy.values()))
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/app.js", "text/javascript"), ("/code.wasm", "application/wasm"), ("/assets/icon.svg", "image/svg+xml")],
)
def test_a_file_has_its_type_and_is_sent_once(alone: Client, path: str, kind: str) -> None:
    first = asked(alone, path)
    assert (first.status_code, first.mimetype) == (200, kind)
    again = asked(alone, path, **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_another_file_of_the_same_time_and_size_has_another_tag(dist: Path, alone: Client, tmp_path: Path) -> None:
    other = tmp_path / "dist"
    other.mkdir()
    for name in ("index.html", "app-config.js"):
        (other / name).write_text((dist / name).read_text().replace("app.js", "new.js"))
    tags = {asked(client, "/").headers["ETag"] for client in (alone, Client(OhifViewer(other, "http://localhost")))}
    assert len(tags) == 2


def test_the_configuration_is_ours_and_names_the_address_of_the_login(dist: Path, alone: Client) -> None:
    assert "theirs" not in asked(alone, "/app-config.js").text
    login = 'https://gateway.example/ui/?a="</script>'
    script = Client(OhifViewer(dist, "http://127.0.0.1:1", login=login)).get("/app-config.js").text
    assert f"const login = {json.dumps(login)};" in script
    assert (dist / "app-config.js").read_text() == "window.config = 'theirs'"


@pytest.mark.parametrize(
    "path",
    ["/missing.js", "/../secret.txt", "/%2e%2e/secret.txt", "/link.txt", "/assets/%00.svg", "/dicomweb/..%2Fdocs"]
    + ["/dicomweb", "/dicomweb/", "/dicomweb/studies/../../runs", "/dicomweb/%2e%2e/runs", "/dicomweb//runs"]
    + ["/dicomweb/studies%3Flimit=1", "/dicomweb/studies%0d%0aX: y"],
)
def test_no_path_leads_out_of_the_build_or_out_of_dicomweb(alone: Client, path: str) -> None:
    answer = asked(alone, path)
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/dicomweb/studies"])
def test_it_only_reads(alone: Client, method: str, path: str) -> None:
    answer = asked(alone, path, method)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_a_gateway_that_is_away_is_a_502(alone: Client) -> None:
    answer = asked(alone, "/dicomweb/studies")
    assert answer.status_code == 502
    assert "start it" in answer.get_json()["detail"]


@pytest.mark.parametrize("gateway", ["gateway.example", "ftp://gateway.example", "http://"])
def test_an_address_that_is_no_url_is_refused(dist: Path, gateway: str) -> None:
    with pytest.raises(ValueError, match="should be a URL"):
        OhifViewer(dist, gateway)


def test_a_folder_without_a_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dist of @ohif/app"):
        OhifViewer(tmp_path, "http://127.0.0.1:8900")


@pytest.fixture(scope="module")
def gateway(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A gateway whose callers have keys, with one instance."""
    folder: Path = tmp_path_factory.mktemp("gateway")
    caller = Caller("viewer", frozenset({"read", "write"}))
    change(folder / "callers.json", lambda _: [CallerEntry(caller, fingerprint(KEY))])
    paths = {"API_KEYS_FILE": folder / "callers.json", "STORE_FOLDER": folder / "store", "DICOMWEB": 1}
    server = serve("tests.apps.typed:app", **{f"GATEWAY_{name}": str(value) for name, value in paths.items()})
    sent = {"Content-Type": f"{PARTS}; boundary={BOUNDARY}"}
    requests.post(f"{server.url}/dicomweb/studies", body([ONE]), headers=sent, auth=CALLER).raise_for_status()
    return server


@pytest.fixture(scope="module")
def behind(dist: Path, gateway: Server) -> Client:
    return Client(OhifViewer(dist, gateway.url), use_cookies=False)


def read(client: Client, path: str, method: str = "GET", **headers: str) -> TestResponse:
    return client.open(path, base_url=HERE, method=method, headers=headers, auth=CALLER, buffered=True)


def test_the_gateway_asks_for_the_key_and_gets_it(behind: Client) -> None:
    assert asked(behind, "/dicomweb/studies").status_code == 401
    (found,) = read(behind, "/dicomweb/studies?limit=1&offset=0").get_json()
    assert found["0020000D"]["Value"] == [HEADER.StudyInstanceUID]


def test_an_instance_arrives_byte_by_byte(behind: Client) -> None:
    answer = read(behind, INSTANCE, Accept=AS_STORED)
    assert answer.status_code == 200
    assert ONE in answer.data
    head = read(behind, INSTANCE, "HEAD", Accept=AS_STORED)
    assert (head.status_code, head.data) == (200, b"")


def test_addresses_in_answers_are_those_of_this_origin(behind: Client) -> None:
    answer = read(behind, f"{INSTANCE}/metadata", **{"Accept-Encoding": "gzip"})
    data = answer.data if "Content-Encoding" not in answer.headers else gzip.decompress(answer.data)
    (found,) = json.loads(data)
    assert found["7FE00010"]["BulkDataURI"].startswith(f"{HERE}{INSTANCE}/")


def test_an_error_of_the_gateway_keeps_its_words(behind: Client) -> None:
    answer = read(behind, "/dicomweb/studies?NoSuchAttribute=1", **{"X-Request-ID": "0" * 32})
    assert (answer.status_code, answer.get_json()["request_id"]) == (400, "0" * 32)


def test_only_a_gateway_with_keys_is_closed(dist: Path, gateway: Server) -> None:
    assert OhifViewer(dist, gateway.url).is_closed()
    with pytest.raises(OSError, match="start the gateway first"):
        OhifViewer(dist, f"http://127.0.0.1:{free_port()}").is_closed()


def test_a_gateway_without_keys_is_not_shown_to_other_machines(dist: Path, serve: Serve, tmp_path: Path) -> None:
    server = serve("tests.apps.typed:app", GATEWAY_STORE_FOLDER=str(tmp_path / "store"), GATEWAY_DICOMWEB="1")
    words = ["ohif", "--dist", dist, "--gateway", server.url, "--port", free_port()]
    refused = command(*words, "--host", "0.0.0.0")
    assert refused.returncode == 2
    assert "asks for no key" in refused.stderr


def logged_in(gateway: Server) -> tuple[str, str]:
    """The cookie of a login at the gateway's page, as a browser sends it to each port of the host; its CSRF value."""
    browser = requests.Session()
    browser.post(f"{gateway.url}/ui/login", json={"key": KEY}, headers={"Origin": gateway.url}).raise_for_status()
    csrf = browser.get(f"{gateway.url}/ui/config").json()["csrf"]
    return "; ".join(f"{name}={value}" for name, value in browser.cookies.items()), csrf


def test_a_login_at_the_gateway_counts_here_for_reading_alone(behind: Client, gateway: Server) -> None:
    cookie, csrf = logged_in(gateway)
    assert asked(behind, "/dicomweb/studies", Cookie=cookie).status_code == 200
    assert asked(behind, "/dicomweb/studies", Cookie=f"{cookie}0").status_code == 401
    written = asked(behind, "/dicomweb/studies", "POST", **{"Cookie": cookie, "X-CSRF-Token": csrf})
    assert written.status_code == 405


def test_a_finished_run_names_the_studies_that_ohif_shows(tmp_path: Path) -> None:
    app = durable.make(Settings(store_folder=tmp_path, dicomweb=True, ohif_url="https://ohif.example/"))
    client = app.test_client()
    stored = client.post("/dicomweb/studies", data=body([ONE]), content_type=f"{PARTS}; boundary={BOUNDARY}")
    assert stored.status_code == 200
    for name, data in (("stored", ONE), ("sent", files(1, study="other")[0].data)):
        client.put(f"/runs/{name}?route=/quick", **sent({}, data))
    links = ended(client, "stored")["links"]
    assert links["ohif"] == f"https://ohif.example/viewer?StudyInstanceUIDs={HEADER.StudyInstanceUID}"
    assert "ohif" not in ended(client, "sent")["links"]
    app.close()


def test_the_address_of_ohif_is_a_url() -> None:
    with pytest.raises(ValueError, match="GATEWAY_OHIF_URL"):
        Settings(ohif_url="javascript:alert()")
