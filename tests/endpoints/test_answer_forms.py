"""The Accept header of a request chooses the form of its answer (RFC 9110 12.5.1)."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from PIL import Image

from gateway import BoundingBox, Classification, Gateway, LabelMask, Mask, Settings, Volume
from gateway.client.wsgi import LOCAL, session
from gateway.dicom.samples import phantom
from gateway.observe.audit.receipts import HEADER, read_receipt
from gateway.protocol.accept import FORMS, AnswerForm, answer_form
from tests.compat import client as toolbelt

RELATED, DICOM, ZIP, JSON, PNG, NIFTI = FORMS
CALLS: list[str] = []


def one(image: Volume, threshold: float = 200) -> Mask:
    """One mask, which in DICOM is one object."""
    CALLS.append("one")
    return Mask(image.array > threshold, "dense")


def several(image: Volume) -> list[Mask | LabelMask | BoundingBox | Classification]:
    """A finding of several kinds."""
    labels = (image.array > 0).astype(np.uint8) + (image.array > 200)
    return [
        Mask(image.array > 200, "dense"),
        LabelMask(labels, {1: "soft", 2: "hard"}, "tissue"),
        BoundingBox("box", (1, 2), (10, 12), slice=0),
        Classification({"side": "left"}),
    ]


def unfit(json_input, files, digest):
    """A mask whose bytes do not fill its shape."""
    part = {"binary_type": "boolean_mask", "binary_data_shape": {"depth": 1, "height": 2, "width": 2}}
    return {"parts": [part]}, [np.zeros(3, np.uint8)]


app = Gateway(__name__, settings=Settings())
app.model("/one", version="1.0")(one)
app.model("/several")(several)
lenient = Gateway(__name__, settings=Settings(strict=False))
lenient.add_inference_route("/unfit", unfit)
client = session(app)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    files = phantom.write(tmp_path_factory.mktemp("study"), slices=3, size=32)
    return [path.read_bytes() for path in files]


def post(study: list[bytes], accept: str | None, route: str = "/one", **more: Any) -> requests.Response:
    encoder = toolbelt.encode(more.pop("json", {}), [], study)
    headers = {"Content-Type": f"multipart/related; boundary={encoder.boundary_value}", **more}
    if accept is not None:
        headers["Accept"] = accept
    return client.post(LOCAL + route, data=encoder.to_string(), headers=headers)


def media_type(response: requests.Response) -> str:
    return response.headers["Content-Type"].partition(";")[0]


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
CHOICES = {
    None: RELATED,
    "": RELATED,
    "*/*": RELATED,
    "application/json, text/plain, */*": RELATED,
    "multipart/related, application/problem+json": RELATED,
    "multipart/*": RELATED,
    "application/dicom, multipart/related": RELATED,
    'multipart/related; type="application/dicom"': RELATED,
    BROWSER: RELATED,
    ";;;, \x7f": RELATED,
    "application/dicom;q=0": RELATED,
    JSON: JSON,
    "application/json; charset=utf-8": JSON,
    "APPLICATION/JSON": JSON,
    "application/json, */*;q=0.9": JSON,
    "application/json;q=0.2, application/zip;q=0.3, text/html": ZIP,
    "*/*, multipart/related;q=0": DICOM,
    "*/*, multipart/related;q=0, application/dicom;q=0": ZIP,
    "application/*;q=0.5, application/dicom;q=0.4, application/zip;q=0": JSON,
    "image/*": PNG,
    "image/png, image/jpeg": PNG,
    "application/x-nifti": NIFTI,
    "application/zip; masks=nifti": ZIP,
}


@pytest.mark.parametrize("accept", CHOICES)
def test_the_preferred_form_is_chosen(accept: str | None) -> None:
    assert answer_form(accept or "").media_type == CHOICES[accept]


def test_dicom_objects_are_made_where_the_chosen_form_has_them() -> None:
    assert answer_form("application/dicom;q=0.5, */*") == AnswerForm(RELATED, dicom=True)
    assert answer_form('multipart/related; type="application/dicom"').dicom
    assert not answer_form("application/json, application/dicom;q=0.5").dicom
    assert not answer_form("application/dicom;q=0, */*").dicom


@pytest.mark.parametrize(
    "accept", ["text/html", "image/jpeg", "application/problem+json", "*/*;q=0", "video/*, text/plain"]
)
def test_a_type_that_is_never_sent_is_refused_before_the_model_runs(study: list[bytes], accept: str) -> None:
    CALLS.clear()
    response = post(study, accept)
    assert (response.status_code, response.json()["type"]) == (406, "urn:gateway:problem:not-acceptable")
    assert all(form in response.json()["detail"] for form in FORMS)
    assert CALLS == []


@pytest.mark.parametrize("accept", [None, "*/*", "application/json, text/plain, */*"])
def test_parts_are_the_default(study: list[bytes], accept: str | None) -> None:
    response = post(study, accept)
    assert media_type(response) == RELATED
    assert toolbelt.decode(response).media_types == ["application/json", "application/binary", "text/plain"]


def test_one_dicom_object_is_sent_bare(study: list[bytes]) -> None:
    response = post(study, DICOM)
    assert media_type(response) == DICOM
    assert pydicom.dcmread(io.BytesIO(response.content)).Modality == "SEG"


def test_several_dicom_objects_are_sent_in_parts(study: list[bytes]) -> None:
    response = post(study, DICOM, "/several")
    assert media_type(response) == RELATED
    assert set(toolbelt.decode(response).media_types[1:-1]) == {DICOM}


def test_json_has_the_findings_and_no_masks(study: list[bytes]) -> None:
    parts = toolbelt.decode(post(study, None, "/several"))
    response = post(study, JSON, "/several")
    assert response.content == parts.contents[0]
    assert response.json()["study_ml_json"] == {"side": "left"}


def test_masks_are_run_lengths_in_json_where_they_are_asked_for(study: list[bytes]) -> None:
    parts = toolbelt.decode(post(study, None, "/several"))
    found = post(study, "application/json; masks=rle", "/several").json()
    for entry, mask in zip(found["parts"], parts.masks, strict=True):
        runs = np.array(entry.pop("runs"))
        np.testing.assert_array_equal(np.repeat(runs[:, 0], runs[:, 1]), np.frombuffer(mask, np.uint8))
    assert found == parts.json


def test_an_archive_has_the_files_that_the_client_saves(study: list[bytes], tmp_path: Path) -> None:
    parts = toolbelt.decode(post(study, None, "/several"))
    response = post(study, ZIP, "/several")
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.namelist() == ["response.json", "output_masks_1.npy", "output_masks_2.npy"]
        assert json.loads(archive.read("response.json")) == parts.json
        mask = np.load(io.BytesIO(archive.read("output_masks_2.npy")))
    assert mask.shape == (1, 3, 32, 32)
    assert mask.tobytes() == parts.masks[1]
    assert post(study, ZIP, "/several").content == response.content


def test_an_archive_has_dicom_objects_where_they_are_asked_for(study: list[bytes]) -> None:
    response = post(study, ZIP, "/several", json={"output": "dicom"})
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert {name.partition("_")[0] for name in archive.namelist()} == {"response.json", "seg", "sr", "gsps"}
        assert pydicom.dcmread(io.BytesIO(archive.read("seg_0.dcm"))).Modality == "SEG"


@pytest.mark.parametrize("output", ["json", "dicom"])
def test_a_picture_is_the_contact_sheet(study: list[bytes], output: str) -> None:
    response = post(study, PNG, "/several", json={"output": output})
    assert media_type(response) == PNG
    picture = np.asarray(Image.open(io.BytesIO(response.content)).convert("RGB")).astype(int)
    assert np.ptp(picture, axis=-1).max() > 50


def test_the_request_s_own_word_wins_over_accept(study: list[bytes]) -> None:
    assert media_type(post(study, DICOM, json={"output": "json"})) == RELATED


@pytest.mark.parametrize("accept", FORMS)
def test_each_form_has_the_digests_and_the_receipt_of_its_answer(study: list[bytes], accept: str) -> None:
    response = post(study, accept, "/one" if accept == NIFTI else "/several", Prefer="receipt")
    receipt = read_receipt(response.headers[HEADER])
    hashes = response.headers.get("X-Hashes") or toolbelt.decode(response).hashes
    assert hashes == f"{receipt['input']}:{receipt['output']}"
    assert receipt["input"] == hashlib.sha256(b"{}" + b"".join(study)).hexdigest()
    assert receipt["accept"] == (DICOM if accept == DICOM else "")
    assert response.headers["Vary"] == "Accept"
    if accept in (ZIP, JSON, PNG):
        parts = toolbelt.decode(post(study, None, "/several"))
        assert receipt["output"] == hashlib.sha256(b"".join(parts.contents[:-1])).hexdigest()


@pytest.mark.parametrize("accept", [ZIP, "application/json; masks=rle"])
def test_a_mask_that_does_not_fill_its_shape_is_a_fault_of_its_model(accept: str) -> None:
    headers = {"Content-Type": "application/octet-stream", "Accept": accept}
    response = session(lenient).post(f"{LOCAL}/unfit", data=b"x", headers=headers)
    assert (response.status_code, response.json()["type"]) == (500, "urn:gateway:problem:answer-invalid")


def test_a_picture_of_a_study_without_images_is_drawn_or_refused() -> None:
    headers = {"Content-Type": "application/octet-stream", "Accept": PNG}
    assert session(lenient).post(f"{LOCAL}/unfit", data=b"x", headers=headers).status_code in (422, 500)
