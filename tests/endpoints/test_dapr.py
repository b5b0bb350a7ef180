"""Dapr's invocation of our routes, in this process: what passes, what is refused, and whose key counts."""

from pathlib import Path
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from gateway import Gateway, Settings
from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from gateway.observe.outcomes import Outcome

INVOKE = "/v1.0/invoke/lungs/method"
BODY = b"--b\r\n\r\n{}\r\n--b\r\n\r\n12345\r\n--b--\r\n"
RELATED = "multipart/related; boundary=b"


def mirror() -> dict[str, Any]:
    """A route of the service: what it sees of a request."""
    request = flask.request
    return {"verb": request.method, "query": request.query_string.decode(), "type": request.content_type}


def application(**settings: Any) -> Gateway:
    app = Gateway("invoked", settings=Settings(dapr_app_id="lungs", **settings))

    def plain(json_input: dict[str, Any], files: list[Any], digest: str) -> tuple[dict[str, Any], list[Any]]:
        return {"study_ml_json": {"sizes": [len(file.read()) for file in files]}}, []

    for route in ("/", "/nodules", "/a/b"):
        app.add_inference_route(route, plain)
    app.add_url_rule("/mirror", "mirror", mirror, methods=["GET", "PUT"])
    return app


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return application().test_client()


def test_a_sidecar_s_probe_is_answered(client: FlaskClient) -> None:
    for path in ("/v1.0/healthz", "/v1.0/healthz/outbound"):
        probed = client.get(path)
        assert (probed.status_code, probed.data) == (204, b"")


@pytest.mark.parametrize("route", ["/", "/nodules", "/a/b"])
def test_an_invocation_is_the_request_of_the_route(route: str) -> None:
    app, outcomes = application(), list[Outcome]()
    client = app.test_client()
    assert client.get("/livez").status_code == 200  # opens the application
    app.service.sinks.append(outcomes.append)
    answers = [
        client.post(path, data=BODY, content_type=RELATED, buffered=True) for path in (route, f"{INVOKE}{route}")
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert b'"sizes": [5]' in answers[1].data
    assert [(one.route, one.door) for one in outcomes] == [(route, "multipart"), (route, "dapr")]
    assert len({one.input_digest for one in outcomes}) == len({one.output_digest for one in outcomes}) == 1


def test_method_query_and_media_type_pass(client: FlaskClient) -> None:
    asked = client.put(f"{INVOKE}/mirror?a=1&a=%2F", data=b"x", content_type="text/csv; header=present")
    assert asked.get_json() == {"verb": "PUT", "query": "a=1&a=%2F", "type": "text/csv; header=present"}
    assert client.post(f"{INVOKE}/mirror").status_code == 405
    assert client.post(f"{INVOKE}/v2/repository/index").get_json()[0]["name"] == "default"


@pytest.mark.parametrize(
    "path",
    [
        "/v1.0/invoke/other/method/nodules",
        "/v1.0/invoke/lungs/methods/nodules",
        "/v1.0/invoke/lungs/method",
        "/v1.0/invoke//method/nodules",
        f"{INVOKE}//nodules",
        f"{INVOKE}/./nodules",
        f"{INVOKE}/x/../nodules",
        f"{INVOKE}/x/%2e%2e/nodules",
        f"{INVOKE}/x%2F..%2Fnodules",
        f"{INVOKE}/..%5cnodules",
        f"{INVOKE}/nodules;x",
        f"{INVOKE}/nodules%00",
        f"{INVOKE}/nodules%0a",
        f"{INVOKE}/nodules/",
        f"{INVOKE}{INVOKE}/nodules",
        f"{INVOKE}/v1.0/healthz",
        "/v1.0/state/x",
    ],
)
def test_another_application_and_a_path_of_two_readings_have_no_route(client: FlaskClient, path: str) -> None:
    refused = client.post(path, data=BODY, content_type=RELATED)
    assert (refused.status_code, refused.mimetype) == (404, "application/problem+json")


def test_a_problem_has_the_members_that_dapr_s_clients_read(client: FlaskClient) -> None:
    for path, code, status in (("/nodules", "unsupported-media-type", 415), ("/none", "http-404", 404)):
        problem = client.post(f"{INVOKE}{path}").get_json()
        assert (problem["status"], problem["errorCode"]) == (status, code)
        assert problem["message"] == problem["detail"]
    assert "errorCode" not in client.post("/nodules").get_json()


def test_dapr_s_token_is_a_key_and_a_caller_s_own_key_wins(tmp_path: Path) -> None:
    path, keys = tmp_path / "callers.json", {"sidecar": new_key(), "viewer": new_key()}
    entries = [
        CallerEntry(Caller("sidecar", frozenset({"infer"}), ("/nodules",)), fingerprint(keys["sidecar"])),
        CallerEntry(Caller("viewer", frozenset({"infer"}), ("*",)), fingerprint(keys["viewer"])),
    ]
    change(path, lambda _: entries)
    app, outcomes = application(api_keys_file=path), list[Outcome]()
    client = app.test_client()
    assert client.get("/v1.0/healthz/outbound").status_code == 204
    app.service.sinks.append(outcomes.append)

    def asked(route: str, **headers: str) -> int:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.post(route, data=BODY, content_type=RELATED, headers=fields, buffered=True).status_code

    token, bearer = {"dapr_api_token": keys["sidecar"]}, {"Authorization": f"Bearer {keys['viewer']}"}
    assert asked(f"{INVOKE}/nodules") == 401
    assert asked(f"{INVOKE}/nodules", dapr_api_token="wrong") == 401
    assert asked(f"{INVOKE}/a/b", **token) == 403
    assert [asked(route, **token) for route in (f"{INVOKE}/nodules", "/nodules")] == [200, 200]
    assert asked(f"{INVOKE}/a/b", **token, **bearer) == 200
    assert [one.caller for one in outcomes] == ["sidecar", "sidecar", "viewer"]


@pytest.mark.parametrize("name", ["a/b", "..", "a\\b"])
def test_an_id_that_is_no_name_is_refused_at_the_start(name: str) -> None:
    with pytest.raises(ValueError, match="GATEWAY_DAPR_APP_ID"):
        Gateway("invoked", settings=Settings(dapr_app_id=name)).open()


def test_invocations_are_described_where_there_are_some() -> None:
    api = application().test_client().get("/openapi.json").get_json()
    validate(api)
    assert {"/v1.0/healthz/outbound", "/v1.0/invoke/{app}/method/{path}"} <= api["paths"].keys()
    assert not [
        path for path in Gateway("plain").test_client().get("/openapi.json").get_json()["paths"] if "v1.0" in path
    ]


def test_without_the_setting_there_are_no_such_routes() -> None:
    assert Gateway("plain").test_client().get("/v1.0/healthz/outbound").status_code == 404
