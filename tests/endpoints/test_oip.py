"""The Open Inference Protocol v2, in this process: what it says of models, tensors in and out, and hostile requests."""

import base64
import io
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import numpy as np
import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate
from werkzeug.test import TestResponse

from gateway import (
    Attachment,
    BoundingBox,
    Classification,
    Gateway,
    Image,
    LabelMask,
    Mask,
    Requires,
    SecondaryCapture,
    Series,
    Settings,
    Volume,
)
from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from gateway.observe.outcomes import Outcome
from gateway.testing import client as local_client
from gateway.testing import phantom_study
from tests.conftest import ROOT
from tests.endpoints.tensors import HEADER, Outputs, elements, entry, message
from tests.endpoints.tensors import outputs as outputs_of

VOXELS = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)


def application(**settings: Any) -> Gateway:
    """A service with a model of each kind of input."""
    app = Gateway("tensors", settings=Settings(**settings))

    @app.model("/above", version="1.2")
    def above(volume: Volume, threshold: float = 5) -> list[Mask | LabelMask | BoundingBox | Classification]:
        inside = volume.array > threshold
        return [
            Mask(inside, "above"),
            Mask(~inside, "below"),
            LabelMask(inside.astype(np.uint8) * 2, {2: "above"}),
            BoundingBox("first", (0, 0), (1, 1), slice=1),
            Classification({"voxels": int(inside.sum())}),
        ]

    @app.model("/ct/slow", forbid_unknown=True, requires=Requires(modality="CT", min_slices=2))
    def slow(volume: Volume) -> Mask:
        return volume.array > volume.spacing[0]

    @app.model("/picture")
    def picture(image: Image) -> Mask:
        return image.array.reshape(*image.shape, -1).max(axis=-1) > 0

    @app.model("/reader")
    def reader(volume: Volume) -> Mask:
        return volume.array > float(volume.header.WindowCenter)

    @app.model("/drawn")
    def drawn(image: Image) -> SecondaryCapture:
        return SecondaryCapture(image.array.astype(np.uint8), "drawn")

    @app.model("/counted")
    def counted(series: Series, notes: Annotated[list[Attachment], "notes"]) -> Classification:
        return Classification({"instances": len(series.instances), "notes": [note.read().decode() for note in notes]})

    def plain(json_input: dict[str, Any], files: list[Any], digest: str) -> tuple[dict[str, Any], list[Any]]:
        return {"study_ml_json": {"sizes": [len(file.read()) for file in files], **json_input}}, []

    app.add_inference_route("/", plain)
    return app


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return application().test_client()


def ask(client: FlaskClient, model: str, words: Any, *data: bytes, headers: Any = ()) -> TestResponse:
    """Ask for an inference with bytes behind the JSON."""
    body, fields = message(words, *data)
    return client.post(f"/v2/models/{model}/infer", data=body, headers=fields | dict(headers), buffered=True)


def infer(client: FlaskClient, model: str, *arrays: tuple[str, Any], **words: Any) -> TestResponse:
    """Send arrays by their names, and ask for bytes."""
    inputs = {"inputs": [entry(name, array) for name, array in arrays]}
    parameters = {"binary_data_output": True, **words.pop("parameters", {})}
    return ask(client, model, inputs | {"parameters": parameters} | words, *(array.tobytes() for _, array in arrays))


def outputs(response: TestResponse) -> Outputs:
    """The tensors of a response, which is no problem."""
    assert response.status_code == 200, response.text
    return outputs_of(response.data, response.headers)


def refused(response: TestResponse, status: int, code: str) -> str:
    """The sentence of a refusal, which has the protocol's member too."""
    problem = response.get_json(force=True)
    assert (response.status_code, response.mimetype) == (status, "application/problem+json"), problem
    assert problem["type"] == f"urn:gateway:problem:{code}", problem
    assert problem["error"] == problem["detail"]
    return str(problem["error"])


def test_the_server_says_what_it_is_and_that_it_is_ready(client: FlaskClient) -> None:
    assert client.get("/v2").get_json()["extensions"] == ["binary_tensor_data", "parameters", "model_configuration"]
    assert [client.get(f"/v2/health/{word}").status_code for word in ("live", "ready")] == [200, 200]
    index = client.post("/v2/repository/index").get_json()
    assert [(one["name"], one["version"], one["state"]) for one in index][:2] == [
        ("above", "1.2", "READY"),
        ("ct/slow", "", "READY"),
    ]
    assert index[-1]["name"] == "default"
    assert len(client.post("/v2/repository/index", json={"ready": True}).get_json()) == len(index)
    refused(client.post("/v2/repository/index", data=b"{", content_type="application/json"), 400, "broken-json")


def test_metadata_states_each_tensor_its_axes_and_the_parameters(client: FlaskClient) -> None:
    found = client.get("/v2/models/above").get_json()
    assert (found["name"], found["versions"]) == ("above", ["1.2"])
    shapes = {one["name"]: (one["datatype"], one["shape"]) for one in (*found["inputs"], *found["outputs"])}
    assert shapes["volume"] == ("FP32", [-1, -1, -1])
    assert shapes["volume.affine"] == ("FP64", [4, 4])
    assert shapes["study"] == ("BYTES", [-1])
    assert shapes["boolean_mask"] == ("BOOL", [-1, -1, -1])
    assert "probability_mask" not in shapes
    assert found["parameters"]["request_parameters"]["properties"]["threshold"]["type"] == "number"
    assert client.get("/v2/models/picture").get_json()["inputs"][0]["shape"] == [-1, -1]
    config = client.get("/v2/models/above/versions/1.2/config").get_json()
    assert config["input"][0] == {"name": "volume", "data_type": "TYPE_FP32", "dims": [-1, -1, -1], "optional": True}
    assert config["output"][0] == {"name": "boolean_mask", "data_type": "TYPE_BOOL", "dims": [-1, -1, -1]}
    assert client.get("/v2/models/above/versions/1.2/ready").get_json() == {"name": "above", "ready": True}


@pytest.mark.parametrize("path", ["models/other", "models/above/versions/2", "models/ct/ready", "models/", "x"])
def test_a_name_or_version_that_is_not_there_is_a_problem_of_the_protocol(client: FlaskClient, path: str) -> None:
    response = client.get(f"/v2/{path}")
    assert response.status_code == 404
    assert response.get_json()["error"]


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("binary", [False, True])
def test_masks_come_back_as_tensors_with_their_labels(client: FlaskClient, batched: bool, binary: bool) -> None:
    array = VOXELS[None] if batched else VOXELS
    parameters = {"binary_data_output": binary, "threshold": 7}
    found = outputs(infer(client, "above", ("volume", array), parameters=parameters, id="7"))
    above, mask = found["boolean_mask"]
    assert (above["parameters"]["label"], above["parameters"]["SeriesInstanceUID"]) == ("above", "volume")
    assert np.array_equal(mask, array > 7)
    assert np.array_equal(found["boolean_mask.2"][1], array <= 7)
    labelled, values = found["numeric_label_mask"]
    assert json.loads(labelled["parameters"]["label_map"]) == {"2": "above"}
    assert values.max() == 2
    (box,) = map(json.loads, found["bounding_boxes_2d"][1])
    assert (box["SOPInstanceUID"], box["frame_number"], box["bottom_right"]) == ("volume", 2, [1, 1])
    assert [json.loads(one) for one in found["study_ml_json"][1]] == [{"voxels": 16}]
    assert json.loads(found["response"][1][0])["protocol_version"] == "1.0"


def test_a_request_names_the_outputs_it_wants_and_how(client: FlaskClient) -> None:
    wanted = [{"name": "boolean_mask.2", "parameters": {"binary_data": True}}, {"name": "study_ml_json"}]
    response = infer(client, "above", ("volume", VOXELS), outputs=wanted, parameters={"binary_data_output": False})
    assert list(outputs(response)) == ["boolean_mask.2", "study_ml_json"]
    sentence = refused(infer(client, "above", ("volume", VOXELS), outputs=[{"name": "x"}]), 422, "parameter-refused")
    assert "boolean_mask" in sentence


def test_json_alone_has_the_data_of_its_tensors(client: FlaskClient) -> None:
    for data in (VOXELS.tolist(), VOXELS.ravel().tolist()):
        tensor = {"name": "volume", "datatype": "FP32", "shape": [2, 3, 4], "data": data}
        response = client.post("/v2/models/above/infer", json={"inputs": [tensor]})
        assert response.mimetype == "application/json"
        assert np.array_equal(outputs(response)["boolean_mask"][1], VOXELS > 5)


@pytest.mark.parametrize("kind", ["i2", "u1", "f2", "f8", "i8", "b1"])
def test_numbers_of_other_types_are_converted(client: FlaskClient, kind: str) -> None:
    array = VOXELS.astype(kind)
    found = outputs(infer(client, "above", ("volume", array), parameters={"threshold": 0.5}))
    assert np.array_equal(found["boolean_mask"][1], array > 0.5)


def test_what_a_model_requires_is_stated_beside_the_tensor(client: FlaskClient) -> None:
    assert "volume.modality" in refused(infer(client, "ct/slow", ("volume", VOXELS)), 422, "study-refused")
    modality, text = elements("volume.modality", b"CT")
    tensor = entry("volume", VOXELS)

    def asked(*more: tuple[dict[str, Any], bytes]) -> TestResponse:
        words = {"inputs": [tensor, *(one for one, _ in more)], "parameters": {"binary_data_output": True}}
        return ask(client, "ct/slow", words, VOXELS.tobytes(), *(data for _, data in more))

    assert "volume.spacing" in refused(asked((modality, text)), 422, "study-refused")
    affine, spacing = np.diag([5.0, 1, 1, 1]), np.array([5.0, 1, 1])
    for name, array in (("volume.affine", affine), ("volume.spacing", spacing)):
        found = outputs(asked((modality, text), (entry(name, array), array.tobytes())))
        assert np.array_equal(found["boolean_mask"][1], VOXELS > 5)
    other = spacing + 1
    both = (entry("volume.affine", affine), affine.tobytes()), (entry("volume.spacing", other), other.tobytes())
    assert "agreement" in refused(asked((modality, text), *both), 422, "study-refused")
    singular = np.ones((4, 4))
    refusal = asked((modality, text), (entry("volume.affine", singular), singular.tobytes()))
    assert "affine" in refused(refusal, 422, "study-refused")
    zero = np.array([5.0, 0, 1])
    refused(asked((modality, text), (entry("volume.spacing", zero), zero.tobytes())), 422, "parameter-refused")
    assert "MR" in refused(asked(elements("volume.modality", b"MR")), 422, "study-refused")


def test_an_attribute_that_only_dicom_has_is_refused_in_words(client: FlaskClient) -> None:
    assert "WindowCenter" in refused(infer(client, "reader", ("volume", VOXELS)), 422, "study-refused")
    asked = infer(client, "above", ("volume", VOXELS), parameters={"output": "dicom"})
    assert "DICOM" in refused(asked, 422, "study-refused")
    assert "DICOM" in refused(infer(client, "drawn", ("image", VOXELS[0])), 422, "study-refused")


def test_an_image_is_grey_or_in_colour_with_or_without_a_batch(client: FlaskClient) -> None:
    colour = np.zeros((5, 4, 3), np.uint8)
    colour[1, 2, 1] = 9
    for array, shape in ((VOXELS[0], (3, 4)), (VOXELS[:1], (1, 3, 4)), (colour, (5, 4)), (colour[None], (1, 5, 4))):
        assert outputs(infer(client, "picture", ("image", array)))["boolean_mask"][1].shape == shape


def test_a_study_in_bytes_is_answered_as_by_the_model_s_own_route(tmp_path: Path) -> None:
    app = application()
    files = phantom_study(tmp_path, slices=4, size=32)
    outcomes: list[Outcome] = []
    app.service.sinks.append(outcomes.append)
    expected = local_client(app).infer(files, "/above", {"threshold": 100.0})
    study, body = elements("study", *(file.read_bytes() for file in files))
    words = {"inputs": [study], "parameters": {"binary_data_output": True, "threshold": 100.0}}
    found = outputs(ask(app.test_client(), "above", words, body))
    assert np.array_equal(found["boolean_mask"][1], expected.masks[0])
    own, other = outcomes
    assert (other.door, other.status, other.instances) == ("oip", 200, 4)
    assert (other.input_digest, other.output_digest) == (own.input_digest, own.output_digest)


def test_dicom_objects_are_files_and_an_answer_has_its_receipt(client: FlaskClient, tmp_path: Path) -> None:
    study, body = elements("study", *(file.read_bytes() for file in phantom_study(tmp_path, slices=3, size=16)))
    words = {"inputs": [study], "parameters": {"output": "dicom", "binary_data_output": True}}
    response = ask(client, "above", words, body, headers={"Prefer": "receipt"})
    found = outputs(response)
    said, files = found["dicom"]
    assert [file[128:132] for file in files] == [b"DICM"] * len(files)
    assert (said["parameters"]["content_type"], "boolean_mask" in found) == ("application/dicom", False)
    encoded = response.headers["X-Gateway-Receipt"].partition(".")[0]
    receipt = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    digest = json.loads(response.data[: int(response.headers[HEADER])])["parameters"]["input_digest"]
    assert (receipt["route"], receipt["input"]) == ("/above", digest)


def test_files_of_any_kind_are_elements_of_bytes(client: FlaskClient, tmp_path: Path) -> None:
    study, images = elements("study", *(file.read_bytes() for file in phantom_study(tmp_path, slices=2, size=16)))
    notes, texts = elements("notes", b"one", b"", b"three")
    found = outputs(ask(client, "counted", {"inputs": [notes, study]}, texts, images))
    assert json.loads(found["study_ml_json"][1][0]) == {"instances": 2, "notes": ["one", "", "three"]}
    text = {"name": "notes", "datatype": "BYTES", "shape": [1], "data": ["in words"]}
    found = outputs(ask(client, "counted", {"inputs": [text, study]}, images))
    assert json.loads(found["study_ml_json"][1][0])["notes"] == ["in words"]
    files, body = elements("study", b"x" * 300_000, b"y")
    found = outputs(ask(client, "default", {"inputs": [files], "parameters": {"a": 1}}, body))
    assert json.loads(found["study_ml_json"][1][0]) == {"sizes": [300_000, 1], "a": 1}
    refused(infer(client, "default", ("study", VOXELS)), 422, "parameter-refused")


def test_the_array_of_the_model_lies_on_the_bytes_that_were_received() -> None:
    app, seen = Gateway("lies"), []

    @app.model("/")
    def look(volume: Volume) -> Mask:
        from gateway.contract.requests import current_request

        spooled = np.frombuffer(current_request().instances[0].getbuffer(), np.uint8)  # type: ignore[attr-defined]
        seen.append((np.shares_memory(volume.array, spooled), volume.array.flags.aligned, volume.array.flags.writeable))
        return volume.array > 0

    infer(app.test_client(), "default", ("volume", VOXELS))
    assert seen == [(True, True, False)]


def test_a_study_beside_the_tensor_of_its_only_argument_is_refused(client: FlaskClient, tmp_path: Path) -> None:
    study, body = elements("study", *(file.read_bytes() for file in phantom_study(tmp_path, slices=2, size=16)))
    asked = ask(client, "above", {"inputs": [entry("volume", VOXELS), study]}, VOXELS.tobytes(), body)
    assert "one of them" in refused(asked, 422, "study-refused")


@pytest.mark.parametrize(("more", "status"), [(0, 200), (-1, 400), (1, 400)])
def test_a_body_of_unknown_length_ends_with_its_last_tensor(client: FlaskClient, more: int, status: int) -> None:
    body, headers = message({"inputs": [entry("volume", VOXELS)]}, VOXELS.tobytes())
    body = body[:more] if more < 0 else body + b"x" * more
    environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}
    stream = io.BytesIO(body)
    response = client.post(
        "/v2/models/above/infer", input_stream=stream, headers=headers, environ_overrides=environ, buffered=True
    )
    assert (response.status_code, "error" in response.get_json()) == (status, status != 200)


def test_a_caller_sees_and_asks_the_models_of_its_routes_alone(tmp_path: Path) -> None:
    path, key = tmp_path / "callers.json", new_key()
    change(path, lambda _: [CallerEntry(Caller("viewer", frozenset({"infer"}), ("/above",)), fingerprint(key))])
    client = application(api_keys_file=path).test_client()
    headers = {"Authorization": f"Bearer {key}"}
    assert [client.get(f"/v2/health/{word}").status_code for word in ("live", "ready")] == [200, 200]
    refused(client.get("/v2"), 401, "unauthenticated")
    refused(ask(client, "above", {}), 401, "unauthenticated")
    index = client.post("/v2/repository/index", headers=headers).get_json()
    assert [one["name"] for one in index] == ["above"]
    refused(client.get("/v2/models/picture", headers=headers), 403, "forbidden")
    refused(ask(client, "picture", {}, headers=headers), 403, "forbidden")
    asked = ask(client, "above", {"inputs": [entry("volume", VOXELS)]}, VOXELS.tobytes(), headers=headers)
    assert asked.status_code == 200


def test_the_timeout_is_in_microseconds_from_the_head(client: FlaskClient) -> None:
    response = infer(client, "above", ("volume", VOXELS), parameters={"timeout": 20_000_000})
    assert (response.status_code, response.headers["X-Request-Timeout"]) == (200, "20")
    refused(infer(client, "above", ("volume", VOXELS), parameters={"timeout": 1}), 504, "deadline-exceeded")
    for timeout in (-1, "1", True, 10**400):
        refused(infer(client, "above", ("volume", VOXELS), parameters={"timeout": timeout}), 422, "parameter-refused")


SIZE = {"binary_data_size": VOXELS.nbytes}
TENSOR = {"name": "volume", "datatype": "FP32", "shape": [2, 3, 4], "parameters": SIZE}
HOSTILE: dict[str, tuple[Any, bytes, int]] = {
    "size too small": (TENSOR | {"parameters": {"binary_data_size": 95}}, VOXELS.tobytes(), 422),
    "size too large": (TENSOR | {"parameters": {"binary_data_size": 97}}, VOXELS.tobytes(), 422),
    "size below 0": (TENSOR | {"parameters": {"binary_data_size": -96}}, VOXELS.tobytes(), 422),
    "size is true": (TENSOR | {"parameters": {"binary_data_size": True}}, VOXELS.tobytes(), 422),
    "size as text": (TENSOR | {"parameters": {"binary_data_size": "96"}}, VOXELS.tobytes(), 422),
    "parameters are a list": (TENSOR | {"parameters": []}, VOXELS.tobytes(), 422),
    "size and data": (TENSOR | {"data": [0] * 24}, VOXELS.tobytes(), 422),
    "neither size nor data": (TENSOR | {"parameters": {}}, VOXELS.tobytes(), 422),
    "bytes missing": (TENSOR, VOXELS.tobytes()[:-1], 422),
    "bytes left": (TENSOR, VOXELS.tobytes() + b"x", 422),
    "dtype of another size": (TENSOR | {"datatype": "FP64"}, VOXELS.tobytes(), 422),
    "dtype unknown": (TENSOR | {"datatype": "FP31"}, VOXELS.tobytes(), 422),
    "dtype without numpy": (TENSOR | {"datatype": "BF16"}, VOXELS.tobytes(), 422),
    "dtype of texts": (TENSOR | {"datatype": "BYTES"}, VOXELS.tobytes(), 422),
    "dtype is a list": (TENSOR | {"datatype": ["FP32"]}, VOXELS.tobytes(), 422),
    "negative length": (TENSOR | {"shape": [-2, -3, 4]}, VOXELS.tobytes(), 422),
    "no shape": (TENSOR | {"shape": None}, VOXELS.tobytes(), 422),
    "shape of fractions": (TENSOR | {"shape": [2.0, 3, 4]}, VOXELS.tobytes(), 422),
    "shape of true": (TENSOR | {"shape": [True, 6, 4]}, VOXELS.tobytes(), 422),
    "shape of texts": (TENSOR | {"shape": ["2", 3, 4]}, VOXELS.tobytes(), 422),
    "product beyond 64 bits": (TENSOR | {"shape": [1 << 32, 1 << 32, 1]}, VOXELS.tobytes(), 422),
    "product that wraps to the size": (TENSOR | {"shape": [(1 << 62) + 6, 4, 1]}, VOXELS.tobytes(), 422),
    "no elements": (TENSOR | {"shape": [0, 3, 4], "parameters": {"binary_data_size": 0}}, b"", 422),
    "endless lengths of no elements": (
        TENSOR | {"shape": [1 << 62, 0, 4], "parameters": {"binary_data_size": 0}},
        b"",
        422,
    ),
    "too few axes": (TENSOR | {"shape": [6, 4]}, VOXELS.tobytes(), 422),
    "too many axes": (TENSOR | {"shape": [1] * 1000}, VOXELS.tobytes(), 422),
    "batch of two": (TENSOR | {"shape": [2, 1, 3, 4]}, VOXELS.tobytes(), 422),
    "another name": (TENSOR | {"name": "other"}, VOXELS.tobytes(), 422),
    "name is a number": (TENSOR | {"name": 5}, VOXELS.tobytes(), 422),
    "long name": (TENSOR | {"name": "v" * 100_000}, VOXELS.tobytes(), 422),
    "no object": ("volume", VOXELS.tobytes(), 422),
    "shared memory": (TENSOR | {"parameters": {"shared_memory_region": "x"}}, b"", 422),
    "text in numbers": (TENSOR | {"parameters": {}, "data": ["1"] * 24}, b"", 422),
    "ragged data": (TENSOR | {"parameters": {}, "data": [[1, 2], [3]]}, b"", 422),
    "too little data": (TENSOR | {"parameters": {}, "data": [1] * 23}, b"", 422),
    "deep data": (TENSOR | {"parameters": {}, "data": json.loads("[" * 90 + "1" + "]" * 90)}, b"", 422),
    "data beyond the type": (TENSOR | {"datatype": "UINT8", "parameters": {}, "data": [300] * 24}, b"", 422),
    "fractions as integers": (TENSOR | {"datatype": "INT16", "parameters": {}, "data": [1.5] * 24}, b"", 422),
    "numbers as truth": (TENSOR | {"datatype": "BOOL", "parameters": {}, "data": [2] * 24}, b"", 422),
    "truth of two": (TENSOR | {"datatype": "BOOL", "parameters": {"binary_data_size": 24}}, b"\2" * 24, 422),
    "data beyond a float": (TENSOR | {"parameters": {}, "data": [1e300] * 24}, b"", 422),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_tensor_that_does_not_agree_with_its_bytes_is_refused(client: FlaskClient, name: str) -> None:
    tensor, data, status = HOSTILE[name]
    response = ask(client, "above", {"inputs": [tensor]}, data)
    assert response.status_code == status, response.text
    assert response.get_json()["error"]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b'{"inputs": [{"name": "volume", "shape": [NaN, 3, 4]}]}', 400),
        (b'{"inputs": [{"name": "volume", "shape": [1e999, 3, 4]}]}', 400),
        (b'{"inputs": [', 400),
        (b"[]", 400),
        (b'{"inputs": 5}', 422),
        (b'{"id": 5}', 422),
        (b'{"parameters": []}', 422),
        (b'{"parameters": {"sequence_id": 5}}', 422),
        (b'{"parameters": {"$tensors": []}}', 422),
        (b'{"outputs": {}}', 422),
        (b'{"inputs": [' + b"{}," * 250_000 + b"{}]}", 413),
    ],
)
def test_json_that_is_no_request_is_refused(client: FlaskClient, text: bytes, status: int) -> None:
    response = ask(client, "above", text)
    assert (response.status_code, bool(response.get_json()["error"])) == (status, True)


def test_twice_one_name_is_refused(client: FlaskClient) -> None:
    response = ask(client, "above", {"inputs": [TENSOR, TENSOR]}, VOXELS.tobytes() * 2)
    assert "Another input" in refused(response, 422, "parameter-refused")


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "9" * 30, "99999", "0", "5"])
def test_a_header_that_lies_of_the_json_is_refused(client: FlaskClient, length: str) -> None:
    response = ask(client, "above", {"inputs": [TENSOR]}, VOXELS.tobytes(), headers={HEADER: length})
    assert response.status_code == 400, response.text


@pytest.mark.parametrize("lengths", [(4, 1), (0, 0), (1, 1), (5, 0), (0xFFFFFFFF, 1), (3, 3)])
def test_lengths_of_elements_that_lie_are_refused(client: FlaskClient, lengths: Sequence[int]) -> None:
    body = struct.pack("<I", lengths[0]) + b"aa" + struct.pack("<I", lengths[1]) + b"aaa"
    tensor = {"name": "study", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(body)}}
    refused(ask(client, "default", {"inputs": [tensor]}, body), 422, "parameter-refused")


def test_more_elements_than_parts_of_a_request_are_refused_before_they_are_read(client: FlaskClient) -> None:
    tensor = {"name": "study", "datatype": "BYTES", "shape": [20_001], "parameters": {"binary_data_size": 80_004}}
    sentence = refused(ask(client, "default", {"inputs": [tensor]}, bytes(80_004)), 413, "limit-exceeded")
    assert "max_parts" in sentence


def test_other_bodies_are_refused(client: FlaskClient) -> None:
    for headers in ({"Content-Type": "multipart/form-data; boundary=b"}, {"Content-Encoding": "gzip"}):
        refused(ask(client, "above", {}, headers=headers), 415, "unsupported-media-type")
    big = np.zeros((600, 600), np.float32)
    asked = infer(client, "picture", ("image", big), parameters={"binary_data_output": False})
    assert "binary_data" in refused(asked, 413, "limit-exceeded")


def test_what_is_answered_is_as_openapi_describes_it(client: FlaskClient) -> None:
    api = client.get("/openapi.json").get_json()
    validate(api)
    index = api["paths"]["/v2/repository/index"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(client.post("/v2/repository/index").get_json(), index)
    about = api["paths"]["/v2/models/{name}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(client.get("/v2/models/above").get_json(), about)
    infer_path = api["paths"]["/v2/models/{name}/infer"]["post"]
    answer = infer_path["responses"]["200"]["content"]["application/json"]["schema"]
    response = infer(client, "above", ("volume", VOXELS), parameters={"binary_data_output": False})
    jsonschema.validate(response.get_json(), answer)
    jsonschema.validate({"inputs": [TENSOR]}, infer_path["requestBody"]["content"]["application/json"]["schema"])


def test_a_wasm_function_takes_and_answers_a_file_and_a_wrapper_has_its_own_route_alone() -> None:
    app = Gateway("files")
    app.add_wasm_route("/grayscale", ROOT / "models/wasm/grayscale.wasm")
    app.add_wrapper_route("/wrapper", ROOT / "tests/adapters/wrappers/study.py")
    picture, body = elements("study", b"P6 2 2 255\n" + bytes(12))
    wanted = [{"name": "file", "parameters": {"binary_data": True}}]
    response = ask(app.test_client(), "grayscale", {"inputs": [picture], "outputs": wanted}, body)
    assert outputs(response)["file"][1] == [b"P5\n2 2\n255\n" + bytes(4)]
    assert [one["name"] for one in app.test_client().post("/v2/repository/index").get_json()] == ["grayscale"]
    refused(ask(app.test_client(), "wrapper", {}), 404, "model-not-found")
    app.close()


def test_the_door_can_be_closed() -> None:
    closed = application(oip=False).test_client()
    assert closed.get("/v2/health/live").status_code == 404
    assert "/v2" not in closed.get("/openapi.json").get_json()["paths"]


def test_a_fault_points_into_the_request_as_it_was_sent(client: FlaskClient) -> None:
    refused = infer(client, "ct/slow", ("volume", VOXELS), ("volume.spacing", np.zeros(3)))
    assert [one["pointer"] for one in refused.get_json()["errors"]] == ["/inputs/1/shape"]
    refused = infer(client, "above", ("volume", VOXELS), parameters={"threshold": "high"})
    assert [one["pointer"] for one in refused.get_json()["errors"]] == ["/parameters/threshold"]
