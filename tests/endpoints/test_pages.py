"""``/`` and ``/docs`` in a browser, and the words of 404 and 405."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from gateway import Gateway, Settings
from gateway.cli import main

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def answer(json_input, instances, digest):
    """Find <nodules> & more."""
    return {}, []


def client(*routes: str, **settings: object) -> FlaskClient:
    app = Gateway("pages", settings=Settings(**settings))
    for route in routes:
        app.add_inference_route(route, answer)
    return app.test_client()


@pytest.fixture
def keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    """A file of callers, and the key of one."""
    path = tmp_path / "keys.json"
    assert main(["keys", "add", "viewer", "--roles", "infer", "--file", str(path)]) == 0
    return path, capsys.readouterr().out.strip()


@pytest.mark.parametrize("routes", [["/lungs"], ["/", "/lungs"], []])
def test_a_browser_sees_what_this_is_its_models_and_the_way_on(routes: list[str]) -> None:
    page = client(*routes).get("/", headers=BROWSER)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert "script" not in page.headers["Content-Security-Policy"]
    assert page.headers["Vary"] == "Accept"
    for link in ("docs", "openapi.json", "readyz", "metrics"):
        assert f'href="{link}"' in page.text
    assert [route for route in routes if f"<code>POST {route}</code>" not in page.text] == []


def test_the_text_of_a_model_s_author_is_no_markup() -> None:
    app = Gateway("pages")
    app.add_inference_route("/<name>", answer)
    assert "<name>" not in app.test_client().get("/", headers=BROWSER).text


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
def test_other_clients_get_a_problem_as_before(accept: str) -> None:
    for routes, status in ((["/"], 405), ([], 404)):
        refused = client(*routes).get("/", headers={"Accept": accept})
        assert (refused.status_code, refused.mimetype) == (status, "application/problem+json")


def test_a_page_of_the_service_wins() -> None:
    app = Gateway("pages")
    app.add_url_rule("/", "mine", lambda: "mine")
    assert app.test_client().get("/", headers=BROWSER).text == "mine"


def test_without_docs_there_is_no_index() -> None:
    assert client(expose_docs="off").get("/", headers=BROWSER).status_code == 404


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_browser_without_a_key_is_asked_for_one_and_others_get_a_problem(path: str, keys) -> None:
    file, key = keys
    browser = client("/", api_keys_file=file)
    page = browser.get(path, headers=BROWSER)
    assert (page.status_code, page.mimetype) == (401, "text/html")
    assert 'id="key"' in page.text and "pages" not in page.text
    assert page.headers["WWW-Authenticate"].startswith("Bearer")
    assert browser.get(path).mimetype == "application/problem+json"
    assert browser.get(path, headers=BROWSER | {"Authorization": f"Bearer {key}"}).status_code == 200
    assert browser.get("/openapi.json", headers=BROWSER).mimetype == "application/problem+json"


def test_a_missing_route_and_a_wrong_method_say_what_there_is() -> None:
    asking = client("/lungs")
    assert "/docs" in asking.get("/nothing").json["detail"]
    wrong = asking.get("/lungs")
    assert (wrong.status_code, set(wrong.allow)) == (405, {"OPTIONS", "POST"})
    assert "POST" in wrong.json["detail"]


def test_a_plain_model_is_described_by_its_docstring() -> None:
    asking = client("/lungs")
    assert "Find &lt;nodules&gt; &amp; more." in asking.get("/", headers=BROWSER).text
    assert asking.get("/openapi.json").json["paths"]["/lungs"]["post"]["summary"] == "Find <nodules> & more."
