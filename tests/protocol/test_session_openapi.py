"""The description of sessions is valid OpenAPI, and responses are as it describes them."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate

from gateway import Gateway, Settings
from gateway.testing import client, phantom_study
from tests.apps.clicking import add_models


def described(**settings: Any) -> tuple[Gateway, dict[str, Any]]:
    app = Gateway(__name__, settings=Settings(**settings))
    add_models(app, "/paint", "/still")
    return app, app.test_client().get("/openapi.json").get_json()


def test_sessions_are_described_as_they_answer(tmp_path: Path) -> None:
    app, api = described()
    validate(api)
    schema = {"$ref": "#/components/schemas/Session", "components": api["components"]}
    with client(app).session(phantom_study(tmp_path, slices=3, size=16), "/paint") as session:
        for words in ({"points": [{"at": [1, 2, 3], "positive": True}]}, {"undo": 1}, {"reset": True}):
            answer = app.test_client().post(f"/sessions/{session.id}/input", json=words)
            jsonschema.validate(answer.json, schema)
            [body] = api["paths"]["/sessions/{id}/input"]["post"]["requestBody"]["content"].values()
            jsonschema.validate(words, body["schema"])
        read = app.test_client().get(f"/sessions/{session.id}/region").json
        [answered] = api["paths"]["/sessions/{id}/region"]["get"]["responses"]["200"]["content"].values()
        jsonschema.validate(read, answered["schema"])
    app.close()


@pytest.mark.parametrize("path", ["/sessions", "/sessions/{id}/input", "/sessions/{id}/finish"])
def test_sessions_are_described_where_there_are_some(path: str) -> None:
    app, api = described(sessions=0)
    assert path not in api["paths"]
    assert "Session" not in json.dumps(api["components"])
    app.close()
    app, api = described()
    assert {"404", "503"} <= api["paths"][path]["post"]["responses"].keys()
    app.close()
