"""Cases made from the description: valid and invalid requests get an answer that it describes."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import booleans
from pydantic import Field

from gateway import Mask, Settings, Volume
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.samples import phantom
from gateway.wire import OutgoingPart, encode
from tests.apps import durable
from tests.protocol.test_openapi import application
from tests.server.test_faults import TYPE, body

schemathesis = pytest.importorskip("schemathesis")

HU = Annotated[float, Field(ge=-1024, le=3071)]
STUDY = [convert_dataset_to_bytes(dataset) for dataset in phantom.datasets(slices=3, size=16)]
BOUNDARY = "schemathesis"


@schemathesis.serializer("multipart/related")  # type: ignore[untyped-decorator]
def _related(_context: Any, value: Any) -> bytes:
    """The parts in their order: the JSON that was generated, then real DICOM files for the generated texts."""
    json_part = value.get("json") if isinstance(value, dict) else value
    parts = [OutgoingPart.named("json", "application/json", json.dumps(json_part).encode())]
    parts += [OutgoingPart.named("file", "application/dicom", data) for data in STUDY]
    return b"".join(encode(BOUNDARY, parts))


def service() -> Any:
    app = application()

    @app.model("/marks")
    def mark(ct: Volume, above: HU = 0.0, below: HU = 3000) -> Mask:
        """Mark the voxels between two values."""
        return Mask((ct.array > above) & (ct.array < below))

    return app


@pytest.mark.slow
def test_every_inference_operation_answers_as_it_is_described() -> None:
    app = service()
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    seen: Counter[tuple[str, int]] = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.method.upper() != "POST":
            continue

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def answers(case: Any) -> None:
            response = case.call(headers={"Content-Type": f"multipart/related; boundary={BOUNDARY}"})
            seen[case.path, response.status_code] += 1
            case.validate_response(response, checks=(schemathesis.checks.not_a_server_error,))
            if response.status_code != 200:
                assert response.headers["content-type"][0] == "application/problem+json"
            assert not {str(response.status_code), "default"}.isdisjoint(case.operation.definition.raw["responses"])

        answers()
    answered = {path for path, status in seen if status == 200}
    assert answered == {"/", "/lung-nodules", "/marks"}, seen


def test_the_study_of_the_cases_is_real() -> None:
    import pydicom

    assert all(pydicom.dcmread(io.BytesIO(data)).Rows == 16 for data in STUDY)


@pytest.mark.slow
def test_every_operation_of_runs_answers_as_it_is_described(tmp_path: Path) -> None:
    app = durable.make(Settings(store_folder=tmp_path, run_wait=0.01))
    headers = {"Content-Type": f"multipart/related; boundary={BOUNDARY}"}
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    seen: Counter[tuple[str, str, int]] = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()
        if not operation.path.startswith("/runs"):
            continue

        @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(), known=booleans(), plain=booleans())
        def answers(case: Any, known: bool, plain: bool) -> None:
            if known and "id" in case.path_parameters:
                app.test_client().put("/runs/known?route=/quick", data=body(b"{}"), content_type=TYPE)
                case.path_parameters["id"] = "known"
            if known and (case.method, case.path) == ("POST", "/runs"):  # a body that is made up is broken
                made = app.test_client().post("/runs?route=/quick", data=body(b"{}"), content_type=TYPE)
                seen[case.method, case.path, made.status_code] += 1
            if case.method in ("PUT", "POST"):
                case.query = {"route": "/quick"} if known else case.query
            elif plain:  # few of the generated queries are accepted
                case.query = {}
            response = case.call(headers=headers if case.method in ("PUT", "POST") else {})
            seen[case.method, case.path, response.status_code] += 1
            case.validate_response(
                response,
                checks=(schemathesis.checks.not_a_server_error, schemathesis.checks.response_schema_conformance),
            )
            if response.status_code >= 400:
                assert response.headers["content-type"][0] == "application/problem+json"

        answers()
    app.close()
    good = {(method, path) for method, path, status in seen if status < 400}
    assert good >= {("POST", "/runs"), ("GET", "/runs"), ("GET", "/runs/{id}"), ("GET", "/runs/{id}/events")}, seen
