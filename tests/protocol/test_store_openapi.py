"""The description of the store's routes: every route is described, and its real answers fit the description."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from gateway import Classification, Gateway, LocalClient, Series, Settings
from gateway.client.wsgi import LOCAL, session
from gateway.dicom.samples import phantom
from gateway.endpoints import bundles, preflight, results, studies
from gateway.endpoints.dicomweb import RULES as DICOMWEB
from gateway.endpoints.health import PROBES
from gateway.protocol.openapi import openapi
from gateway.protocol.store_openapi import BUNDLES, RESULTS, STUDIES

Answered = list[tuple[str, str, int, Any]]


@pytest.fixture
def answered() -> Answered:
    """Method, path, status and JSON of each answer of the application."""
    return []


@pytest.fixture
def app(answered: Answered, tmp_path: Path) -> Gateway:
    app = Gateway(__name__, settings=Settings(store_folder=tmp_path / "store"))

    @app.model("/count", version="1", deterministic=True)
    def count(series: Series) -> Classification:
        """Count the instances."""
        return Classification({"instances": len(series.instances)})

    @app.after_request
    def record(response: flask.Response) -> flask.Response:
        rule = str(flask.request.url_rule).replace("<", "{").replace(">", "}")
        answered.append((flask.request.method, rule, response.status_code, response.get_json(silent=True)))
        return response

    return app


@pytest.fixture
def client(app: Gateway, tmp_path: Path) -> Iterator[LocalClient]:
    with LocalClient(app.settings.store_folder or tmp_path, app) as client:
        yield client


@pytest.fixture
def api(client: LocalClient, app: Gateway) -> dict[str, Any]:
    service = app.extensions["gateway"]
    return openapi(service.models, service.settings)


def described() -> set[tuple[str, str]]:
    return {(one.method, one.path) for one in (*STUDIES, *RESULTS, *BUNDLES)}


def test_every_route_of_the_store_is_described() -> None:
    rules = (*studies.RULES, *results.RULES, *bundles.RULES, *preflight.RULES)
    assert described() == {(method, path.replace("<", "{").replace(">", "}")) for method, path, _ in rules}


def test_every_route_of_dicomweb_is_described_where_it_is_on(tmp_path: Path) -> None:
    off, on = (openapi({}, Settings(store_folder=tmp_path, dicomweb=dicomweb)) for dicomweb in (False, True))
    validate(on)
    assert not any(path.startswith("/dicomweb") for path in off["paths"])
    described = {
        (method.upper(), path) for path, item in on["paths"].items() if path.startswith("/dicomweb") for method in item
    }
    rules = {(method, f"/dicomweb{path}".replace("path:", "")) for method, path, _ in DICOMWEB}
    assert described == {(method, path.replace("<", "{").replace(">", "}")) for method, path in rules}


def test_every_probe_is_described(api: dict[str, Any]) -> None:
    assert PROBES.keys() <= api["paths"].keys()
    assert set(api["paths"]["/readyz"]["get"]["responses"]) == {"200", "503"}


def test_the_description_with_a_store_is_valid_and_names_each_operation_once(api: dict[str, Any]) -> None:
    validate(api)
    names = [operation["operationId"] for path in api["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))


def test_without_a_store_its_routes_are_not_described() -> None:
    api = Gateway(__name__, settings=Settings()).test_client().get("/openapi.json").get_json()
    assert not described() & {(verb.upper(), path) for path, verbs in api["paths"].items() for verb in verbs}


def schema_of(responses: dict[str, Any], status: int) -> dict[str, Any]:
    """The schema of a JSON answer of this status; an empty one where the answer is not JSON."""
    content = responses.get(str(status), responses["default"]).get("content", {})
    return next((dict(one["schema"]) for media_type, one in content.items() if "json" in media_type), {})


def call_every_route(app: Gateway, client: LocalClient, folder: Path) -> None:
    """Call each route of the store; some of them more than once."""
    weights = folder / "weights"
    weights.mkdir()
    (weights / "net.bin").write_bytes(b"0123")
    study = client.upload(phantom.write(folder / "study", slices=3, size=16))
    client.preflight(study)
    client.infer(study, "/count")
    (stored,) = client.studies()
    (result,) = client.results()
    client.result(result["id"])
    client.push_bundle("net", weights)
    client.pull_bundle("net", folder / "pulled")
    uid = stored["study_instance_uid"]
    for method, path in (
        ("GET", f"studies/{uid}"),
        ("GET", "bundles"),
        ("DELETE", "bundles/net"),
        ("DELETE", f"results/{result['id']}"),
        ("GET", "studies/1.2.3"),
    ):
        session(app).request(method, f"{LOCAL}/{path}")
    client.forget(uid)


def test_the_store_answers_as_it_is_described(
    app: Gateway, client: LocalClient, api: dict[str, Any], answered: Answered, tmp_path: Path
) -> None:
    call_every_route(app, client, tmp_path)
    operations = {(verb.upper(), path): one for path, verbs in api["paths"].items() for verb, one in verbs.items()}
    of_store = [one for one in answered if one[:2] in described()]
    for method, rule, status, json in of_store:
        schema = schema_of(operations[method, rule]["responses"], status)
        Draft202012Validator({**schema, "components": api["components"]}).validate(json)
    assert {(method, rule) for method, rule, _, _ in of_store} == described()
    assert {status for _, _, status, _ in of_store} == {200, 204, 404}
