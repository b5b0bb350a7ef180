"""The description is made from the models, is true of their answers, and is shown without outside resources."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from pydantic import Field

from gateway import Execution, Gateway, Mask, Settings, Volume
from gateway.binding.parameters import unit
from gateway.protocol.response import check
from gateway.protocol.serializer import InferenceSerializer


def application(**settings: Any) -> Gateway:
    app = Gateway(__name__, settings=Settings(**settings))

    @app.model("/lung-nodules", version="1.2.0", forbid_unknown=True)
    def find_nodules(
        ct: Volume,
        side: Literal["left", "right"],
        threshold: Annotated[float, Field(ge=-1024, le=3071, description="where air ends"), unit("HU")] = -600,
    ) -> Mask:
        """Find nodules in the lung."""
        return Mask(ct.array > threshold)

    app.add_inference_route("/", lambda json_input, files, digest: ({"parts": []}, []))
    return app


@pytest.fixture
def api() -> dict[str, Any]:
    return dict(application().test_client().get("/openapi.json").get_json())


def test_the_description_is_valid_openapi(api: dict[str, Any]) -> None:
    validate(api)
    assert api["openapi"].startswith("3.1")


def test_a_typed_model_describes_its_parameters_with_bounds_units_and_defaults(api: dict[str, Any]) -> None:
    schema = api["components"]["schemas"]["LungNodulesRequest"]
    threshold = schema["properties"]["threshold"]
    assert (threshold["minimum"], threshold["maximum"], threshold["default"]) == (-1024, 3071, -600)
    assert (threshold["description"], threshold["unit"]) == ("where air ends", "HU")
    assert schema["properties"]["side"]["enum"] == ["left", "right"]
    assert schema["required"] == ["side"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["output"]["enum"] == ["json", "dicom"]


def test_each_route_describes_the_order_of_its_parts(api: dict[str, Any]) -> None:
    for route in ("/", "/lung-nodules"):
        assert "order counts" in api["paths"][route]["post"]["description"]
    assert "one Volume as ct" in api["paths"]["/lung-nodules"]["post"]["description"]


def test_a_route_describes_its_own_problems_and_no_other_door_s(tmp_path: Path) -> None:
    def described(**settings: Any) -> dict[str, str]:
        api = application(**settings).test_client().get("/openapi.json").get_json()
        responses = api["paths"]["/"]["post"]["responses"].items()
        return {status: response["description"] for status, response in responses}

    plain, stored = described(), described(store_folder=tmp_path / "store")
    own = {
        "400",
        "401",
        "403",
        "406",
        "408",
        "413",
        "415",
        "421",
        "422",
        "429",
        "499",
        "500",
        "502",
        "503",
        "504",
        "507",
    }
    assert plain.keys() == {"200"} | own
    assert stored.keys() == plain.keys() | {"202", "404", "409", "410"}
    assert "limit-exceeded" in plain["413"]
    assert "path-forbidden" in described(study_root=tmp_path)["403"]
    others = ("bundle", "result-not-found", "query-refused", "run-conflict", "instance-", "run-id", "session")
    assert not [code for code in others if any(code in text for text in (*plain.values(), *stored.values()))]


def test_a_route_describes_the_device_of_its_model() -> None:
    app = Gateway(__name__, settings=Settings(model_processes=1))

    @app.model("/nodules", execution=Execution(devices="cuda", memory="6 GiB"))
    def nodules(ct: Volume) -> Mask:
        return Mask(ct.array > 300)

    @app.model("/bone", execution=Execution(devices="none"))
    def bone(ct: Volume) -> Mask:
        return Mask(ct.array > 300)

    paths = app.test_client().get("/openapi.json").get_json()["paths"]
    taking, free = paths["/nodules"]["post"], paths["/bone"]["post"]
    assert taking["x-devices"] == {"devices": ["cuda"], "memory": 6 << 30}
    assert "takes one device (cuda), and 6 GiB of its memory." in taking["description"]
    assert free["x-devices"] == {"devices": ["none"], "memory": 0}


def test_a_study_path_is_described_where_there_is_a_study_root(tmp_path: Path) -> None:
    without, with_root = (
        app.test_client().get("/openapi.json").get_json()["paths"]["/"]["post"]["requestBody"]["content"]
        for app in (application(), application(study_root=tmp_path))
    )
    assert "application/json" not in without
    assert "application/json" in with_root


def test_the_schema_of_answers_agrees_with_the_checks(api: dict[str, Any]) -> None:
    validator = Draft202012Validator({"$ref": "#/components/schemas/Answer", **api})
    good = {"parts": [{"binary_type": "boolean_mask", "binary_data_shape": {"height": 2, "width": 2}}]}
    bad = {"parts": [{"binary_type": "boolean_mask", "binary_data_shape": {"height": 0, "width": 2}}]}
    check(good, [bytes(4)], serializer=InferenceSerializer(), strict=True, warn=print)
    assert validator.is_valid(good)
    assert not validator.is_valid(bad)


def test_the_page_brings_all_it_needs() -> None:
    response = application().test_client().get("/docs")
    assert response.status_code == 200
    assert not re.search(r"(src|href)=[\"'](https?:)?//", response.text)
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_a_rule_of_the_service_wins_over_the_gateways() -> None:
    app = application()
    app.add_url_rule("/docs", "own", lambda: "my docs")
    assert app.test_client().get("/docs").text == "my docs"


def test_the_command_prints_what_the_route_answers(capsys: pytest.CaptureFixture[str]) -> None:
    from gateway.cli import main

    assert main(["schema", "models.app:app"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert "/segmentation-3d" in printed["paths"]
    assert main(["schema", "models.segmentation_3d:segment"]) == 1
    assert main(["schema", "models.nowhere:app"]) == 1
    assert capsys.readouterr().err.count("error: ") == 2
