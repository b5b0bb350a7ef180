"""A service's own wishes win over the gateway's, but never at the price of a debugger that the network can reach."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway import Gateway, Model, ModelAnswer, Request, Settings
from tests.conftest import ROOT
from tests.waiting import PATIENCE, eventually

PONG = "inference-service is up and accepting connections"


def nothing(json_input: Any, files: Any, digest: str) -> Any:
    return {"parts": []}, []


def multipart(app: Gateway, route: str) -> Any:
    headers = {"Content-Type": "multipart/related; boundary=b"}
    return app.test_client().post(route, data=b"--b\r\n\r\n{}\r\n--b--\r\n", headers=headers)


@pytest.mark.parametrize("other", [nothing, lambda *words: nothing(*words)])
def test_a_second_model_on_a_route_is_a_value_error_that_names_it(other: Any) -> None:
    app = Gateway("service")
    app.add_inference_route("/mask", nothing)
    with pytest.raises(ValueError, match="The route /mask already maps to a model"):
        app.add_inference_route("/mask", other)
    assert multipart(app, "/mask").status_code == 200


class Counter(Model):
    """A model of an author's own, with ``predict`` alone."""

    name = "/count"

    def predict(self, request: Request) -> ModelAnswer:
        return ModelAnswer({"count": len(request.instances)})


def test_a_model_of_ones_own_needs_predict_alone_and_is_checked_like_a_handler() -> None:
    app = Gateway("service")
    app.add_model("/count", Counter())
    answered = multipart(app, "/count")
    assert answered.status_code == 200
    assert b'"count": ' in answered.data
    assert b'"parts": []' in answered.data
    with pytest.raises(ValueError, match="already maps"):
        app.add_model("/count", Counter())


def test_a_route_that_flask_refuses_is_not_taken() -> None:
    app = Gateway("service")
    for _ in range(2):
        with pytest.raises(ValueError, match="start with a slash"):
            app.add_inference_route("mask", nothing)


@pytest.mark.parametrize("route", ["/", "/v1.0/mask", "/a/b-c"])
def test_any_route_may_have_a_model(route: str) -> None:
    app = Gateway("service")
    app.add_inference_route(route, nothing)
    assert multipart(app, route).status_code == 200
    assert app.test_client().get(route).status_code == 405


def test_the_gateway_adds_probes_where_a_service_has_no_own() -> None:
    client = Gateway("service").test_client()
    for method in (client.get, client.post):
        assert method("/ping").text == PONG
        assert method("/healthcheck").text == "READY"


@pytest.mark.parametrize("path", ["/ping", "/healthcheck"])
@pytest.mark.parametrize("models_first", [True, False])
def test_a_rule_of_the_service_for_a_probe_wins_whenever_it_is_added(path: str, models_first: bool) -> None:
    app = Gateway("service")
    steps: list[Callable[[], Any]] = [
        lambda: app.add_inference_route("/", nothing),
        lambda: app.add_url_rule(path, "mine", lambda: "mine", methods=["GET", "POST"]),
    ]
    for step in steps if models_first else reversed(steps):
        step()
    client = app.test_client()
    assert client.get(path).text == client.post(path).text == "mine"
    other = {"/ping": "/healthcheck", "/healthcheck": "/ping"}[path]
    assert client.get(other).text in (PONG, "READY")


def test_a_health_handler_of_the_service_answers_both_methods() -> None:
    app = Gateway("service")
    app.add_healthcheck_route(lambda: ("LOADING", 503))
    for method in (app.test_client().get, app.test_client().post):
        response = method("/healthcheck")
        assert (response.status_code, response.text) == (503, "LOADING")


def test_a_decorated_rule_and_an_error_handler_of_the_service_win() -> None:
    app = Gateway("service")

    @app.route("/ping")
    def mine() -> str:
        raise KeyError("text")

    app.register_error_handler(Exception, lambda error: (type(error).__name__, 418))
    response = app.test_client().get("/ping")
    assert (response.status_code, response.text) == (418, "KeyError")
    assert app.test_client().get("/nowhere").text == "NotFound"
    assert multipart(app, "/nowhere").headers["X-Request-ID"]


def test_what_a_plain_view_raises_is_a_problem_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    app = Gateway("service", settings=Settings())
    app.add_url_rule("/fails", "fails", lambda: {}["DOE^JANE"])
    response = app.test_client().get("/fails")
    assert (response.status_code, response.content_type) == (500, "application/problem+json")
    assert "DOE^JANE" not in response.text
    assert "DOE^JANE" not in caplog.text
    assert "builtins.KeyError" in caplog.text
    assert str(ROOT) not in caplog.text


def test_texts_of_exceptions_are_logged_where_the_settings_allow_it(caplog: pytest.LogCaptureFixture) -> None:
    app = Gateway("service", settings=Settings(log_exception_text=True))
    app.add_url_rule("/fails", "fails", lambda: {}["DOE^JANE"])
    assert "DOE^JANE" not in app.test_client().get("/fails").text
    assert "DOE^JANE" in caplog.text


def test_settings_are_read_from_the_environment_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_MAX_PARTS", "5")
    assert Gateway("service").settings.max_parts == 5
    assert Gateway("service", settings=Settings(max_parts=6)).settings.max_parts == 6


def ran_with(app: Gateway, monkeypatch: pytest.MonkeyPatch, *words: Any, **options: Any) -> dict[str, Any]:
    """The arguments with which ``run`` would start werkzeug's server."""
    started: dict[str, Any] = {}
    monkeypatch.setattr("werkzeug.serving.run_simple", lambda host, port, app, **options: started.update(options))
    monkeypatch.setattr("flask.cli.show_server_banner", lambda *words: None)
    app.run(*words, **options)
    return started | {"debug": app.debug}


OFF = {"use_debugger": False, "use_reloader": False, "debug": False}
WISHES: list[dict[str, Any]] = [{"debug": True}, {"use_debugger": True}, {"use_reloader": True}]
OFF_LOOPBACK = ["0.0.0.0", "::", "192.0.2.7", "service.example", "0", "localhost.example"]


@pytest.mark.parametrize("wish", WISHES, ids=str)
@pytest.mark.parametrize("host", OFF_LOOPBACK)
def test_off_loopback_debugger_and_reloader_are_off_with_a_logged_sentence(
    host: str, wish: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started = ran_with(Gateway("service"), monkeypatch, host, 1, **wish)
    assert {name: started[name] for name in OFF} == OFF
    assert f"debugger and reloader disabled: {host} is not a loopback address" in caplog.text


@pytest.mark.parametrize("host", [None, "", "localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_on_loopback_a_developer_has_both(
    host: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started = ran_with(Gateway("service"), monkeypatch, host, 1, debug=True)
    assert (started["use_debugger"], started["use_reloader"]) == (True, True)
    assert "debugger" not in caplog.text


def test_off_loopback_no_warning_is_logged_where_no_debugger_was_requested(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert ran_with(Gateway("service"), monkeypatch, "0.0.0.0", 1)["use_debugger"] is False
    assert "debugger" not in caplog.text


def test_the_server_name_of_the_service_counts_as_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Gateway("service")
    app.config["SERVER_NAME"] = "service.example:80"
    assert ran_with(app, monkeypatch, debug=True)["use_debugger"] is False


def test_the_environment_does_not_turn_the_debugger_on_off_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flask reads FLASK_DEBUG once more when it runs, perhaps from a .env file."""
    app = Gateway("service")
    monkeypatch.setenv("FLASK_DEBUG", "1")
    started = ran_with(app, monkeypatch, "0.0.0.0", 1)
    assert {name: started[name] for name in OFF} == OFF


SERVICE = """
from gateway import Gateway
app = Gateway(__name__)
app.add_url_rule("/fails", "fails", lambda: 1 / 0)
app.run("0.0.0.0", 0, debug=True)
"""


@contextmanager
def started(folder: Path) -> Iterator[tuple[str, Path]]:
    (folder / "service.py").write_text(SERVICE)
    log = folder / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "service.py"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=sink,
            stderr=sink,
        )
    try:
        port = eventually(lambda: re.search(r"Running on http://127.0.0.1:(\d+)", log.read_text()))[1]
        yield f"http://127.0.0.1:{port}", log
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_a_service_that_runs_off_loopback_with_debug_serves_no_console(tmp_path: Path) -> None:
    with started(tmp_path) as (url, log):
        assert requests.get(url + "/console", timeout=PATIENCE).status_code == 404
        failed = requests.get(url + "/fails", timeout=PATIENCE)
        assert (failed.status_code, failed.headers["Content-Type"]) == (500, "application/problem+json")
        assert "0.0.0.0 is not a loopback address" in log.read_text()
        assert "Debugger is active" not in log.read_text()
