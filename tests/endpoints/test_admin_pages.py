"""``/admin/studies``: what operators see, who may see it, and which forms may change something."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from gateway import Gateway, Settings
from gateway.access import listeners
from gateway.cli import main
from gateway.studies import study_history
from gateway.studies.blobs import quarantine_label
from gateway.studies.study_history import Stage
from tests.apps.routed import lungs
from tests.endpoints.test_pages import BROWSER
from tests.studies import arrived
from tests.waiting import eventually

OWN = {"Sec-Fetch-Site": "same-origin"}
NOW = 1_700_000_000.0


def service(folder: Path, **settings: object) -> Gateway:
    """A gateway with rules, and a study at each stage in its store."""
    (folder / "rules.toml").write_text('[rules.lungs]\ntitles = ["CT*"]\nmodel = "/lungs"\n', encoding="utf-8")
    app = Gateway(
        "admin",
        settings=Settings(
            store_folder=folder / "store", routing=folder / "rules.toml", audit_file=folder / "audit.jsonl", **settings
        ),
    )
    app.model("/lungs")(lungs)
    app.open()
    with app.service.store.store.index.writing() as connection:
        arrived.every_stage(connection, NOW)
    return app


@pytest.fixture
def private() -> None:
    listeners.announce([("127.0.0.1", 8900)])


@pytest.fixture
def app(tmp_path: Path, private: None) -> Gateway:
    return service(tmp_path)


@pytest.fixture
def browser(app: Gateway) -> FlaskClient:
    return app.test_client()


def stage_of(app: Gateway, name: str) -> Stage:
    with app.service.store.store.index.reading() as connection:
        ((found,),) = [history.rounds for history in study_history.of_study(connection, arrived.study(name))]
    return found.stage


def test_the_list_shows_each_study_with_its_stage_and_what_rules_said(browser: FlaskClient) -> None:
    page = browser.get("/admin/studies", headers=BROWSER)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    for name in ("done", "dead", "failed", "untaken", "working", "arriving"):
        assert f"/admin/studies/{arrived.study(name)}" in page.text
    for words in (arrived.REFUSED, "waits for a person 2", "from CT1", "archive", "140 instances"):
        assert words in page.text
    chosen = browser.get("/admin/studies?stage=attention", headers=BROWSER).text
    assert (arrived.study("dead") in chosen, arrived.study("done") in chosen) == (True, False)
    assert browser.get("/admin/studies?stage=lost", headers=BROWSER).status_code == 422
    assert browser.get("/admin/studies?before=x", headers=BROWSER).status_code == 422


def test_the_first_page_leads_there(browser: FlaskClient) -> None:
    assert 'href="admin/studies"' in browser.get("/", headers=BROWSER).text


def test_a_study_is_shown_with_reasons_runs_and_deliveries(browser: FlaskClient) -> None:
    texts = {name: browser.get(f"/admin/studies/{arrived.study(name)}").text for name in ("untaken", "dead", "failed")}
    assert "None of 2 series has Modality &#39;MR&#39;." in texts["untaken"]
    assert "to archive" in texts["dead"] and "Send again" in texts["dead"]
    assert "it does not accept the class or the transfer syntax of an object (0122)" in texts["dead"]
    assert arrived.REFUSED in texts["failed"] and texts["failed"].count("Try again") == 2
    for unknown in ("1.2.3", "<b>", "x" * 100):
        assert browser.get(f"/admin/studies/{unknown}").status_code == 404


def test_the_page_may_use_its_own_style_and_nothing_else(browser: FlaskClient) -> None:
    for path in ("", f"/{arrived.study('dead')}"):
        page = browser.get(f"/admin/studies{path}")
        (style,) = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = page.headers["Content-Security-Policy"]
        assert f"style-src 'sha256-{digest}'" in policy
        assert "default-src 'none'" in policy and "unsafe" not in policy and "script" not in policy
        assert not re.search(r"<script|style=|\son\w+=", page.text)


def retried(app: Gateway) -> dict[str, tuple[int, int]]:
    """The routings and deliveries that were tried again, by their study, as the audit has them."""
    assert app.settings.audit_file is not None
    told = map(json.loads, app.settings.audit_file.read_text().splitlines())
    records = [one for one in told if one.get("kind") == "routing-retry"]
    return {one["study"]: (one["routings"], one["deliveries"]) for one in records}


def test_a_form_of_the_page_has_a_study_tried_again(app: Gateway, browser: FlaskClient) -> None:
    for name in ("dead", "failed"):
        page = browser.get(f"/admin/studies/{arrived.study(name)}").text
        field, id = re.findall(r'name="(routing|delivery)" value="([^"]+)"', page)[0]
        sent = browser.post(f"/admin/studies/{arrived.study(name)}/retry", data={field: id}, headers=OWN)
        assert sent.status_code == 303
        assert "It is tried again." in browser.get(sent.headers["Location"]).text
        label, numbers = quarantine_label(arrived.study(name)), (1, 0) if field == "routing" else (0, 1)
        assert eventually(lambda label=label: retried(app).get(label)) == numbers
        assert stage_of(app, name) is Stage.WORKING


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_a_form_of_another_page_changes_nothing(app: Gateway, browser: FlaskClient, headers: dict[str, str]) -> None:
    path = f"/admin/studies/{arrived.study('failed')}/retry"
    assert browser.post(path, data={"all": "1"}, headers=headers).status_code == 403
    assert stage_of(app, "failed") is Stage.ATTENTION
    assert browser.post(path, data={"all": "1"}, headers={"Origin": "http://localhost"}).status_code == 303


def test_a_large_form_and_an_unknown_study_are_refused(browser: FlaskClient) -> None:
    path = f"/admin/studies/{arrived.study('failed')}/retry"
    assert browser.post(path, data={"all": "x" * 5000}, headers=OWN).status_code == 413
    assert browser.post("/admin/studies/1.2.3/retry", data={"all": "1"}, headers=OWN).status_code == 404


def test_without_keys_only_this_machine_sees_it(tmp_path: Path) -> None:
    listeners.announce([("10.1.2.3", 8900)])
    assert service(tmp_path, allow_anonymous=True).test_client().get("/admin/studies").status_code == 403


def basic(name: str, key: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{key}'.encode()).decode()}"}


def test_with_keys_a_browser_asks_for_the_key_of_an_admin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, keys = tmp_path / "keys.json", {}
    for name, roles in (("operator", "admin"), ("viewer", "infer,read")):
        assert main(["keys", "add", name, "--roles", roles, "--file", str(file)]) == 0
        keys[name] = capsys.readouterr().out.strip()
    asking = service(tmp_path, api_keys_file=file).test_client()

    def challenges(**headers: str) -> list[str]:
        answer = asking.get("/admin/studies", headers=headers)
        assert answer.status_code == 401
        return [value.partition(" ")[0] for value in answer.headers.getlist("WWW-Authenticate")]

    assert challenges(**BROWSER) == ["Bearer", "Basic"]
    assert challenges() == ["Bearer"]
    assert challenges(**BROWSER, **basic("viewer", keys["viewer"])) == ["Bearer", "Basic"]
    assert challenges(**BROWSER, **basic("viewer", keys["operator"])) == ["Bearer", "Basic"]
    own = basic("operator", keys["operator"])
    assert asking.get("/admin/studies", headers=BROWSER | own).status_code == 200
    assert asking.get("/admin/studies", headers={"X-API-Key": keys["operator"]}).status_code == 200
    assert asking.get("/runs", headers=own).status_code == 401
    forged = own | {"Sec-Fetch-Site": "cross-site"}
    path = f"/admin/studies/{arrived.study('failed')}/retry"
    assert asking.post(path, data={"all": "1"}, headers=forged).status_code == 403


def test_without_rules_there_is_no_page(tmp_path: Path, private: None) -> None:
    plain = Gateway("plain", settings=Settings(store_folder=tmp_path)).test_client()
    assert plain.get("/admin/studies").status_code == 404
    assert "admin/studies" not in plain.get("/", headers=BROWSER).text
