"""MONAI Label's API, in this process: models, inference, sessions, the datastore, and hostile requests."""

import contextlib
import gzip
import io
import json
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import SimpleITK
from flask.testing import FlaskClient
from numpy.typing import NDArray
from openapi_spec_validator import validate
from werkzeug.formparser import parse_form_data
from werkzeug.test import TestResponse

from gateway import (
    BoundingBox,
    Classification,
    Gateway,
    Image,
    LabelMask,
    Mask,
    ProbabilityMask,
    Requires,
    Settings,
    Volume,
)
from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from gateway.representations import label_maps
from gateway.testing import phantom_study
from tests.apps.clicking import paint
from tests.dicom.volumes.nifti_files import nifti
from tests.doors.questions import in_space, values
from tests.endpoints.dicomweb.web import BOUNDARY, PARTS, body

SLICER = {"result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": False, "client_id": None}
"""What 3D Slicer's module sends with each inference."""
PACKED = gzip.compress(bytes(1000), mtime=0)
Slices = list[Path]


def application(**settings: Any) -> Gateway:
    """A service with a model of each kind of answer."""
    app = Gateway("labels", settings=Settings(monai=True, **settings))

    @app.model("/threshold", version="1.2", forbid_unknown=True)
    def threshold(volume: Volume, level: float = 200, label: str = "dense") -> list[Mask | Classification]:
        """Voxels above a level."""
        found = volume.array > level
        return [Mask(found, label), Classification({"voxels": int(found.sum())})]

    @app.model("/ct/tissues")
    def tissues(volume: Volume) -> list[LabelMask | ProbabilityMask]:
        soft = (volume.array > 0).astype(np.uint8) + (volume.array > 200)
        return [
            LabelMask(soft, {1: "soft", 2: "hard"}),
            ProbabilityMask(np.where(volume.array < -500, 0.7, 0.2), "air"),
        ]

    @app.model("/overlapping")
    def overlapping(volume: Volume) -> list[Mask]:
        return [Mask(volume.array > level, "a\nname: x") for level in (0, 100)]

    @app.model("/ct", requires=Requires(modality="CT"))
    def of_ct(volume: Volume) -> Mask:
        return Mask(volume.array > 0, "dense")

    @app.model("/box")
    def box(volume: Volume) -> BoundingBox:
        return BoundingBox("box", (1, 2), (5, 6), slice=0)

    @app.model("/planes")
    def planes(images: list[Image]) -> list[Mask]:
        return [Mask(image.array > 0, "dense", of=image) for image in images[:2]]

    app.model("/")(paint)
    return app


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return application().test_client()


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Slices:
    """A study of slices that are not square, out of spatial order."""
    return phantom_study(tmp_path_factory.mktemp("phantom"), slices=5, size=24)[::-1]


def packed(files: Sequence[Path]) -> bytes:
    """An archive of files, as a client sends a series: it sends one file."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for number, path in enumerate(files):
            archive.writestr(f"{number}.dcm", path.read_bytes())
    return data.getvalue()


def form(params: str, *files: tuple[str, bytes]) -> dict[str, Any]:
    """A form as the Python client writes it: ``params``, then files by their fields."""
    limit = b"----------lImIt_of_THE_fIle_eW_$"
    parts = [(b'name="params"', params.encode())]
    parts += [(f'name="{name}"; filename="/home/DOE^JANE/study.zip"'.encode(), data) for name, data in files]
    lines = [b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (limit, *part) for part in parts]
    content_type = f"multipart/form-data; boundary={limit.decode()}"
    return {"data": b"".join([*lines, b"--%s--\r\n" % limit]), "content_type": content_type}


def infer(client: FlaskClient, name: str, files: Sequence[Path] = (), query: str = "", **params: Any) -> TestResponse:
    """Ask for an inference as 3D Slicer's module does."""
    sent = form(json.dumps(SLICER | params), *([("file", packed(files))] if files else []))
    return client.post(f"/monai/infer/{name}?{query}", **sent)


def put_session(client: FlaskClient, *files: bytes, query: str = "") -> TestResponse:
    """Open a session."""
    return client.put(f"/monai/session/{query}", **form("{}", *(("files", data) for data in files)))


def answered(response: TestResponse) -> tuple[NDArray[Any], SimpleITK.Image, dict[str, Any]]:
    """The mask by SimpleITK, which 3D Slicer's module reads it with too, and ``params``."""
    assert response.status_code == 200, response.text
    assert int(response.headers["Content-Length"]) == len(response.data)
    environ = {"wsgi.input": io.BytesIO(response.data), "CONTENT_TYPE": response.headers["Content-Type"]}
    environ |= {"CONTENT_LENGTH": str(len(response.data)), "REQUEST_METHOD": "POST"}
    _, fields, files = parse_form_data(environ, silent=False)
    with contextlib.closing(files["image"]) as file:
        image = read(file.read(), str(file.filename))
    return SimpleITK.GetArrayFromImage(image), image, json.loads(fields["params"])


def read(data: bytes, name: str) -> SimpleITK.Image:
    """Read an image by SimpleITK, which wants a file."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        return SimpleITK.ReadImage(path)


def refused(response: TestResponse, status: int, code: str) -> str:
    """The sentence of a refusal."""
    problem = response.get_json(force=True)
    assert (response.status_code, problem["type"]) == (status, f"urn:gateway:problem:{code}"), problem
    assert "DOE" not in response.text
    return str(problem["detail"])


def test_the_models_are_listed_by_what_they_do_with_their_defaults(client: FlaskClient) -> None:
    info = client.get("/monai/info/").get_json()
    types = {name: model["type"] for name, model in info["models"].items()}
    assert types == {
        "threshold": "segmentation",
        "ct/tissues": "segmentation",
        "overlapping": "segmentation",
        "planes": "segmentation",
        "ct": "segmentation",
        "box": "detection",
        "default": "deepgrow",
    }
    config = info["models"]["threshold"]["config"]
    assert (config["level"], config["label"], config["result_overlap"]) == (200.0, "dense", ["refuse", "last"])
    assert config["modality"][:2] == ["", "CT"]
    assert info["models"]["threshold"]["description"] == "Voxels above a level."
    assert (info["labels"], info["trainers"], info["datastore"]["total"]) == ([], {}, 0)
    assert client.get("/monai/info").status_code == 200


def test_the_api_is_not_served_without_nibabel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ValueError, match="GATEWAY_MONAI.*pip install .nibabel"):
        application().open()


def test_a_mask_lies_on_the_grid_of_the_series(client: FlaskClient, slices: Slices) -> None:
    array, image, params = answered(infer(client, "threshold", slices, level=100, label="größer"))
    np.testing.assert_array_equal(array, values(slices) > 100)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in sorted(slices)])
    series = reader.Execute()
    for of in ("GetOrigin", "GetSpacing", "GetDirection", "GetSize"):
        np.testing.assert_allclose(getattr(image, of)(), getattr(series, of)(), atol=1e-6)
    assert params["label_names"] == {"größer": 1}
    assert (params["model"], params["version"]) == ("threshold", "1.2")
    assert params["answer"]["study_ml_json"]["voxels"] == int(array.sum())


@pytest.mark.parametrize("compress", [False, True])
def test_several_regions_are_one_label_map(client: FlaskClient, slices: Slices, compress: bool) -> None:
    array, _, params = answered(infer(client, "ct/tissues", slices, result_compress=compress))
    exact = values(slices)
    assert params["label_names"] == {"soft": 1, "hard": 2, "air": 3}
    wanted = np.select([exact > 200, exact > 0, exact < -500], [2, 1, 3])
    np.testing.assert_array_equal(array, wanted)


def test_regions_that_overlap_need_the_segmentation_of_slicer(client: FlaskClient, slices: Slices) -> None:
    assert ".seg.nrrd" in refused(infer(client, "overlapping", slices), 406, "not-acceptable")
    exact = values(slices)
    array, *_ = answered(infer(client, "overlapping", slices, result_overlap="last"))
    np.testing.assert_array_equal(array, (exact > 0) + np.uint8(exact > 100))
    array, image, params = answered(infer(client, "overlapping", slices, result_extension=".seg.nrrd"))
    np.testing.assert_array_equal(array, np.stack([exact > 0, exact > 100], axis=-1))
    assert [image.GetMetaData(f"Segment{number}_Layer") for number in (0, 1)] == ["0", "1"]
    assert image.GetMetaData("Segment1_Name") == "a name: x 2"
    assert list(params["label_names"].values()) == [1, 2]


def test_layers_of_regions_that_overlap_are_bounded(
    client: FlaskClient, slices: Slices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_maps, "LAYER_BYTES", 2 * values(slices).size - 1)
    asked = {"result_extension": ".seg.nrrd"}
    assert "their layers exceed 1 GiB" in refused(infer(client, "overlapping", slices, **asked), 406, "not-acceptable")
    monkeypatch.setattr(label_maps, "LAYER_BYTES", 2 * values(slices).size)
    answered(infer(client, "overlapping", slices, **asked))


def test_the_query_chooses_the_form_of_the_answer(client: FlaskClient, slices: Slices) -> None:
    image = infer(client, "threshold", slices, "output=image")
    assert image.data.startswith(b"NRRD") and image.headers["Content-Disposition"].endswith('.nrrd"')
    words = infer(client, "threshold", slices, "output=json")
    assert words.get_json()["label_names"] == {"dense": 1}
    seg = infer(client, "threshold", slices, "output=dicom_seg")
    assert (seg.mimetype, seg.data[128:132]) == ("application/dicom", b"DICM")
    assert infer(client, "box", slices).get_json()["label_names"] == {}
    refused(infer(client, "box", slices, "output=image"), 406, "not-acceptable")
    refused(infer(client, "box", slices, "output=dicom_seg"), 406, "not-acceptable")
    refused(infer(client, "threshold", slices, "output=other"), 422, "parameter-refused")


def test_masks_that_are_no_label_map_are_json_alone(client: FlaskClient, slices: Slices) -> None:
    assert "json" in refused(infer(client, "planes", slices), 406, "not-acceptable")
    words = infer(client, "planes", slices, "output=json")
    assert (words.status_code, words.get_json()["label_names"]) == (200, {})


def test_points_are_the_clicks_of_an_interactive_model(client: FlaskClient, slices: Slices) -> None:
    """A point is column, row and slice, as 3D Slicer sends it."""
    array, _, params = answered(
        infer(client, "default", slices, foreground=[[7, 3, 1], [20, 4, 4]], background=[[7, 3, 1]])
    )
    assert params["label_names"] == {"Painted": 1}
    assert np.argwhere(array).tolist() == [[4, 4, 20]]
    array, *_ = answered(infer(client, "default", slices))
    assert not array.any()


@pytest.mark.parametrize(
    "points",
    [
        [[24, 0, 0]],
        [[0, 0, 5]],
        [[-1, 0, 0]],
        [[1, 2]],
        [["1", 2, 3]],
        [[10**400, 2, 3]],
        [None],
        "[[1, 2, 3]]",
        {"x": 1},
        [[0, 0, 0]] * 1001,
    ],
)
def test_a_point_that_is_none_is_refused(client: FlaskClient, slices: Slices, points: Any) -> None:
    refused(infer(client, "default", slices, foreground=points), 422, "parameter-refused")
    refused(infer(client, "default", slices, background=points), 422, "parameter-refused")


@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ("{", 400, "broken-json"),
        ("[]", 400, "broken-json"),
        ("null", 400, "broken-json"),
        ("[" * 100_000, 400, "broken-json"),
        (json.dumps([0] * 300_000), 413, "limit-exceeded"),
        ('{"level": "high"}', 422, "parameter-refused"),
        ('{"unknown": 1}', 422, "parameter-refused"),
        ('{"result_extension": "../x.nrrd"}', 422, "parameter-refused"),
        ('{"result_extension": [".nrrd"]}', 422, "parameter-refused"),
        ('{"result_dtype": "float32"}', 422, "parameter-refused"),
        ('{"result_compress": "yes"}', 422, "parameter-refused"),
        ('{"result_overlap": "first"}', 422, "parameter-refused"),
        ('{"modality": "CT"}', 422, "parameter-refused"),
        ('{"modality": ["CT"]}', 422, "parameter-refused"),
        ('{"studyPath": "/etc"}', 422, "parameter-refused"),
        ('{"series": "1.2.3"}', 422, "parameter-refused"),
        ('{"from": "pacs", "study": "1.2.3"}', 422, "parameter-refused"),
    ],
)
def test_params_that_do_not_fit_are_refused(
    client: FlaskClient, slices: Slices, params: str, status: int, code: str
) -> None:
    sent = form(params, ("file", packed(slices)))
    refused(client.post("/monai/infer/threshold?image=x", **sent), status, code)


def test_a_word_of_the_client_reaches_a_model_only_where_it_declares_it(client: FlaskClient, slices: Slices) -> None:
    """The model forbids unknown parameters, and has one with the name of a word that 3D Slicer sends."""
    words = {"device": "cuda", "logging": "INFO", "model": "x", "output": "dicom", "label": "spleen"}
    assert answered(infer(client, "threshold", slices, **words))[2]["label_names"] == {"spleen": 1}


ORIENTATIONS = [("L", "P", "S"), ("R", "A", "S"), ("R", "P", "I"), ("L", "A", "S")]
"""The directions in which the columns, rows and slices of a file run."""


@pytest.fixture(scope="module")
def volume() -> NDArray[np.int16]:
    """(column, row, slice)."""
    return np.random.default_rng(1).integers(-500, 500, (7, 6, 5)).astype(np.int16)


def nifti_file(array: NDArray[np.int16], codes: Sequence[str]) -> bytes:
    """An image as a file whose axes run in these directions, with steps of its own and an origin."""
    signs = [1 if code in "RAS" else -1 for code in codes]
    affine = np.diag([*np.array([0.7, 0.8, 3.0]) * signs, 1.0])
    affine[:3, 3] = [5, -6, 7]
    return gzip.compress(nifti(array, affine))


@pytest.mark.parametrize("codes", ORIENTATIONS)
@pytest.mark.parametrize("extension", [".nii.gz", ".nii", ".nrrd", ".seg.nrrd", ""])
def test_a_mask_of_a_nifti_file_lies_on_the_files_grid(
    client: FlaskClient, volume: NDArray[np.int16], codes: Sequence[str], extension: str
) -> None:
    sent = nifti_file(volume, codes)
    words = form(json.dumps(SLICER | {"level": 100, "result_extension": extension}), ("file", sent))
    response = client.post("/monai/infer/threshold?image=CT", **words)
    array, image, _ = answered(response)
    np.testing.assert_array_equal(array, volume.T > 100)
    file = read(sent, "image.nii.gz")
    for of in ("GetOrigin", "GetSpacing", "GetDirection", "GetSize"):
        np.testing.assert_allclose(getattr(image, of)(), getattr(file, of)(), atol=1e-5)
    assert extension or b".nii.gz" in response.data


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_a_point_on_a_nifti_file_is_a_voxel_of_the_file(
    client: FlaskClient, volume: NDArray[np.int16], codes: Sequence[str]
) -> None:
    opened = put_session(client, nifti_file(volume, codes)).get_json()["session_id"]
    array, *_ = answered(infer(client, "default", query=f"session_id={opened}", foreground=[[6, 2, 1]]))
    assert np.argwhere(array).tolist() == [[1, 2, 6]]
    refused(infer(client, "default", query=f"session_id={opened}", foreground=[[7, 2, 1]]), 422, "parameter-refused")


def test_a_model_that_asks_for_a_modality_gets_the_one_that_is_stated(
    client: FlaskClient, volume: NDArray[np.int16]
) -> None:
    file = "file", nifti_file(volume, ORIENTATIONS[0])
    refused(client.post("/monai/infer/ct?image=x", **form("{}", file)), 422, "study-refused")
    refused(client.post("/monai/infer/ct?image=x", **form('{"modality": "MR"}', file)), 422, "study-refused")
    assert client.post("/monai/infer/ct?image=x", **form('{"modality": "CT"}', file)).status_code == 200
    refused(client.post("/monai/infer/ct?output=dicom_seg", **form('{"modality": "CT"}', file)), 422, "study-refused")
    nrrd = refused(client.post("/monai/infer/ct", **form("{}", ("file", b"NRRD0005\n"))), 422, "study-refused")
    assert "NIfTI" in nrrd


def test_a_session_holds_an_image_for_inferences(client: FlaskClient, slices: Slices) -> None:
    opened = put_session(client, packed(slices)).get_json()
    id, info = opened["session_id"], opened["session_info"]
    assert (info["name"], info["expiry"], info["meta"]["files"]) == (id, 3600, 5)
    for level in (0, 100):
        array, *_ = answered(infer(client, "threshold", query=f"image=CT+Chest&session_id={id}", level=level))
        np.testing.assert_array_equal(array, values(slices) > level)
    assert client.get(f"/monai/session/{id}").get_json()["create_ts"] == info["create_ts"]
    refused(client.get(f"/monai/session/{id}?image=true"), 501, "not-offered")
    refused(infer(client, "threshold", slices, f"session_id={id}"), 422, "parameter-refused")
    assert client.delete(f"/monai/session/{id}").get_json()["name"] == id
    for gone in (client.get(f"/monai/session/{id}"), client.delete(f"/monai/session/{id}")):
        refused(gone, 404, "session-gone")
    refused(infer(client, "threshold", query=f"session_id={id}"), 404, "session-gone")


def test_the_files_of_a_session_may_be_sent_one_by_one(client: FlaskClient, slices: Slices) -> None:
    files = [path.read_bytes() for path in slices]
    opened = put_session(client, *files, query="?expiry=60").get_json()
    assert opened["session_info"]["expiry"] == 60
    array, *_ = answered(infer(client, "threshold", query=f"session_id={opened['session_id']}", level=100))
    np.testing.assert_array_equal(array, values(slices) > 100)
    refused(put_session(client), 422, "parameter-refused")
    refused(client.put("/monai/session/", json={}), 415, "unsupported-media-type")
    refused(put_session(client, *files, query="?expiry=-1"), 422, "parameter-refused")


@pytest.mark.parametrize("id", ["..%2F..%2Fetc%2Fpasswd", "%00", "x" * 5000, "0" * 31, "0" * 64, "%ff%fe", "0" * 32])
def test_a_name_that_no_image_has_leads_nowhere(client: FlaskClient, id: str) -> None:
    assert client.get(f"/monai/session/{id}").status_code == 404
    refused(infer(client, "threshold", query=f"session_id={id}"), 404, "session-gone")
    refused(infer(client, "threshold", query=f"image={id}"), 404, "study-not-found")
    for path in ("image", "image/info"):
        refused(client.get(f"/monai/datastore/{path}?image={id}"), 404, "study-not-found")


def test_an_inference_needs_an_image_and_a_model(client: FlaskClient, slices: Slices) -> None:
    refused(infer(client, "threshold"), 422, "parameter-refused")
    refused(infer(client, "other", slices), 404, "model-not-found")
    refused(client.post("/monai/infer/threshold", data=b"x", content_type="text/plain"), 415, "unsupported-media-type")
    refused(client.post("/monai/infer/threshold"), 422, "parameter-refused")
    refused(client.post("/monai/infer/threshold", **form("{}", ("label", b"scribbles"))), 501, "not-offered")
    refused(client.post("/monai/infer/threshold", **form("{}", ("other", b"x"))), 422, "parameter-refused")


def test_an_archive_that_unfolds_without_end_is_refused() -> None:
    client, data = application(max_body_bytes=1 << 20).test_client(), io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.dcm", bytes(64 << 20))
    for method, path, field in (("POST", "infer/threshold", "file"), ("PUT", "session/", "files")):
        sent = form("{}", (field, data.getvalue()))
        refused(client.open(f"/monai/{path}", method=method, **sent), 413, "limit-exceeded")
    refused(put_session(client, gzip.compress(bytes(64 << 20))), 413, "limit-exceeded")


@pytest.mark.parametrize("data", [PACKED[:-9], PACKED[:-1] + b"x", PACKED[:3]], ids=["short", "broken", "head"])
def test_a_session_of_a_badly_packed_file_is_refused(client: FlaskClient, data: bytes) -> None:
    refused(put_session(client, data), 400, "broken-body")


def test_newer_sessions_of_a_caller_displace_the_oldest(slices: Slices) -> None:
    client = application(session_caller_max=2).test_client()
    ids = [put_session(client, packed(slices)).get_json()["session_id"] for _ in range(3)]
    assert [client.get(f"/monai/session/{id}").status_code for id in ids] == [404, 200, 200]
    client = application(session_max_bytes=1000).test_client()
    refused(put_session(client, packed(slices)), 503, "unavailable")
    client = application(sessions=0).test_client()
    refused(put_session(client, packed(slices)), 501, "not-offered")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "train/threshold"),
        ("DELETE", "train/"),
        ("GET", "train/?check_if_running=true"),
        ("POST", "activelearning/random"),
        ("PUT", "datastore/?image=x"),
        ("PUT", "datastore/label?image=x"),
        ("GET", "datastore/label?label=x&tag=final"),
        ("POST", "infer/wsi/threshold"),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(client: FlaskClient, method: str, path: str) -> None:
    assert refused(client.open(f"/monai/{path}", method=method), 501, "not-offered").endswith(".")


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    """The keys of callers: two who may infer on one route, and one who may only read."""
    return {name: new_key() for name in ("me", "you", "reader")}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, str]) -> FlaskClient:
    """A service that authenticates callers, with a store."""
    folder = tmp_path_factory.mktemp("guarded")
    infers, reads = frozenset({"infer", "read", "write"}), frozenset({"read"})
    callers = [
        CallerEntry(Caller(name, reads if name == "reader" else infers, ("/threshold",)), fingerprint(key))
        for name, key in keys.items()
    ]
    change(folder / "callers.json", lambda _: callers)
    settings = {"store_folder": folder / "store", "api_keys_file": folder / "callers.json", "dicomweb": True}
    return application(**settings).test_client()


def as_caller(key: str, **more: str) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {key}", **more}}


def test_a_login_returns_the_key_of_the_caller(guarded: FlaskClient, keys: dict[str, str]) -> None:
    assert guarded.get("/monai/auth/").get_json()["enabled"] is True
    login = {"username": "me", "password": keys["me"], "grant_type": "password"}
    assert guarded.post("/monai/auth/token", data=login).get_json()["access_token"] == keys["me"]
    for wrong in ({"username": "you"}, {"password": keys["you"]}, {"password": ""}, {"password": "gw_x"}):
        refused(guarded.post("/monai/auth/token", data=login | wrong), 401, "unauthenticated")
    refused(guarded.post("/monai/auth/token", json=login), 415, "unsupported-media-type")
    refused(guarded.post("/monai/auth/token", data={"password": "x" * 20_000}), 413, "limit-exceeded")
    assert guarded.get("/monai/auth/token/valid", **as_caller(keys["me"])).get_json()["username"] == "me"
    for path in ("auth/token/valid", "info/", "logs/", "datastore/", "session/0"):
        refused(guarded.get(f"/monai/{path}"), 401, "unauthenticated")


def test_a_caller_sees_its_own_models_and_sessions_alone(
    guarded: FlaskClient, keys: dict[str, str], slices: Slices
) -> None:
    mine, yours, readers = (as_caller(keys[name]) for name in ("me", "you", "reader"))
    assert list(guarded.get("/monai/info/", **mine).get_json()["models"]) == ["threshold"]
    sent = form("{}", ("files", packed(slices)))
    id = guarded.put("/monai/session/", **sent, **mine).get_json()["session_id"]
    asked = form("{}")
    assert guarded.post(f"/monai/infer/threshold?session_id={id}", **asked, **mine).status_code == 200
    refused(guarded.post(f"/monai/infer/threshold?session_id={id}", **asked, **yours), 404, "session-gone")
    refused(guarded.get(f"/monai/session/{id}", **yours), 404, "session-gone")
    refused(guarded.delete(f"/monai/session/{id}", **yours), 404, "session-gone")
    refused(guarded.post("/monai/infer/box", **sent, **mine), 404, "model-not-found")
    refused(guarded.post("/monai/infer/threshold", **sent, **readers), 403, "forbidden")
    refused(guarded.put("/monai/session/", **sent, **readers), 403, "forbidden")
    foreign = as_caller(keys["me"], Origin="https://evil.example")
    refused(guarded.put("/monai/session/", **sent, **foreign), 403, "forbidden")
    refused(guarded.post("/monai/infer/threshold", **sent, **foreign), 403, "forbidden")


def test_a_stored_series_is_an_image_of_its_callers_datastore(
    guarded: FlaskClient, keys: dict[str, str], slices: Slices
) -> None:
    mine, yours = as_caller(keys["me"]), as_caller(keys["you"])
    assert guarded.get("/monai/datastore/", **mine).get_json()["total"] == 0
    data, content_type = body([path.read_bytes() for path in slices]), f"{PARTS}; boundary={BOUNDARY}"
    assert guarded.post("/dicomweb/studies", data=data, content_type=content_type, **mine).status_code == 200
    found = guarded.get("/monai/datastore/?output=all", **mine).get_json()["objects"]
    (series,) = found
    assert guarded.get("/monai/info/", **mine).get_json()["datastore"]["total"] == 1
    assert found[series]["image"]["info"]["SeriesInstanceUID"] == series
    assert guarded.get(f"/monai/datastore/image/info?image={series}", **mine).get_json()["name"].startswith(series)
    asked = form('{"level": 100}')
    array, *_ = answered(guarded.post(f"/monai/infer/threshold?image={series}", **asked, **mine))
    np.testing.assert_array_equal(array, values(slices) > 100)
    sent = guarded.get(f"/monai/datastore/image?image={series}", **mine)
    image = read(sent.data, "image.nii.gz")
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), values(slices))
    np.testing.assert_allclose(image.GetOrigin(), in_space(slices)[0].ImagePositionPatient, atol=1e-4)
    assert guarded.head(f"/monai/datastore/image?image={series}", **mine).status_code == 200
    refused(guarded.get(f"/monai/datastore/image?image={series}", **yours), 404, "study-not-found")
    assert guarded.get("/monai/datastore/", **yours).get_json()["total"] == 0
    refused(guarded.post(f"/monai/infer/threshold?image={series}", **asked, **yours), 404, "study-not-found")
    refused(guarded.get(f"/monai/datastore/image/info?image={series}", **yours), 404, "study-not-found")


def test_a_stored_series_unfolds_within_the_limit(tmp_path: Path, slices: Slices) -> None:
    client = application(store_folder=tmp_path, dicomweb=True, max_decoded_bytes=values(slices).size).test_client()
    data, content_type = body([path.read_bytes() for path in slices]), f"{PARTS}; boundary={BOUNDARY}"
    assert client.post("/dicomweb/studies", data=data, content_type=content_type).status_code == 200
    (series,) = client.get("/monai/datastore/?output=all").get_json()["objects"]
    refused(client.get(f"/monai/datastore/image?image={series}"), 413, "limit-exceeded")


def test_the_description_is_that_of_the_answers(client: FlaskClient, slices: Slices) -> None:
    api = client.get("/openapi.json").get_json()
    validate(api)

    def fits(body: Any, path: str) -> None:
        schema = api["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(body, schema | {"components": api["components"]})

    fits(client.get("/monai/info/").get_json(), "/monai/info/")
    for output in ("", "stats", "all", "train"):
        fits(client.get(f"/monai/datastore/?output={output}").get_json(), "/monai/datastore/")
    answer = api["paths"]["/monai/infer/{name}"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    words = infer(client, "threshold", slices, "output=json").get_json()
    jsonschema.validate(words, answer | {"components": api["components"]})
    assert not any(path.startswith("/monai") for path in Gateway("x").test_client().get("/openapi.json").json["paths"])
    assert "standard error" in client.get("/monai/logs/").text
