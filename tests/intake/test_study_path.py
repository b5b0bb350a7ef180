"""A ``studyPath`` hands over files in spatial order, and never a byte from outside the study root."""

import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from requests_toolbelt import MultipartDecoder
from werkzeug.test import TestResponse

from gateway import Classification, Gateway, Settings, Volume
from tests.dicom.volumes.nifti_files import nifti, packed


def slice_at(folder: Path, name: str, position: float) -> Path:
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    dataset.ImagePositionPatient = [0, 0, position]
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{int(position) + 1}"
    folder.mkdir(parents=True, exist_ok=True)
    dataset.save_as(folder / name)
    return folder / name


def positions(json_input: dict[str, Any], files: list[Any], digest: str) -> tuple[dict[str, Any], list[Any]]:
    found = [float(pydicom.dcmread(file).ImagePositionPatient[2]) for file in files]
    return {"study_ml_json": {"positions": found, "digest": digest}}, []


def shape(volume: Volume) -> Classification:
    return Classification({"shape": str(volume.shape)})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    slice_at(root / "study", "a.dcm", 30)
    slice_at(root / "study" / "deeper", "b", 10)
    slice_at(root / "study", "c.dcm", 20)
    slice_at(root / "study", "DICOMDIR", 40)
    (root / "study" / "notes.txt").write_text("no DICOM")
    os.mkfifo(root / "study" / "pipe")
    slice_at(tmp_path / "outside", "x.dcm", 99)
    return root


def ask(root: Path | None, study_path: Any, **settings: Any) -> TestResponse:
    app = Gateway(__name__, settings=Settings(study_root=root, **settings))
    app.add_inference_route("/", positions)
    return app.test_client().post("/", json={"studyPath": study_path})


def test_every_dicom_file_below_the_path_is_handed_over_in_spatial_order(root: Path) -> None:
    response = ask(root, "study")
    decoded = MultipartDecoder(response.data, response.content_type)
    answer = json.loads(decoded.parts[0].text)["study_ml_json"]
    assert answer["positions"] == [10.0, 20.0, 30.0]
    body = json.dumps({"studyPath": "study"}).encode()
    files = [root / "study/deeper/b", root / "study/c.dcm", root / "study/a.dcm"]
    assert answer["digest"] == hashlib.sha256(body + b"".join(f.read_bytes() for f in files)).hexdigest()


def test_an_absolute_path_below_the_root_and_a_single_file_are_accepted(root: Path) -> None:
    assert ask(root, str(root / "study")).status_code == 200
    assert ask(root, "study/a.dcm").status_code == 200


@pytest.mark.parametrize(
    "path", ["..", "../outside", "../missing", "/etc", "/missing", "study/../../outside", "link", "a\0b"]
)
def test_whatever_resolves_outside_the_root_is_forbidden_whether_or_not_it_exists(root: Path, path: str) -> None:
    (root / "link").symlink_to(root.parent / "outside")
    response = ask(root, path)
    assert response.status_code == 403
    assert str(root) not in response.text


def test_a_link_inside_the_study_that_leads_outside_is_forbidden(root: Path) -> None:
    (root / "study" / "file.dcm").symlink_to(root.parent / "outside" / "x.dcm")
    assert ask(root, "study").status_code == 403


def test_a_link_that_stays_inside_is_followed_and_a_circle_of_links_ends(root: Path) -> None:
    (root / "study" / "again").symlink_to(root / "study")
    slice_at(root / "elsewhere", "d.dcm", 5)
    (root / "study" / "d.dcm").symlink_to(root / "elsewhere" / "d.dcm")
    decoded = MultipartDecoder((response := ask(root, "study")).data, response.content_type)
    assert json.loads(decoded.parts[0].text)["study_ml_json"]["positions"] == [5.0, 10.0, 20.0, 30.0]


def test_a_missing_study_and_one_without_dicom_are_not_found(root: Path) -> None:
    (root / "empty").mkdir()
    assert [ask(root, path).status_code for path in ("missing", "empty", "x" * 5000)] == [404, 404, 404]


@pytest.mark.parametrize(("limit", "value"), [("max_study_files", 2), ("max_body_bytes", 50_000)])
def test_a_study_over_a_limit_is_refused_by_the_limits_name(root: Path, limit: str, value: int) -> None:
    response = ask(root, "study", **{limit: value})
    assert response.status_code == 413
    assert response.get_json()["limit"] == limit


def test_without_a_study_root_the_setting_is_named(root: Path) -> None:
    response = ask(None, "study")
    assert response.status_code == 415
    assert "study_root" in response.get_json()["detail"]


@pytest.mark.parametrize("path", [1, "", None, ["study"]])
def test_a_path_that_is_no_text_is_refused(root: Path, path: Any) -> None:
    assert ask(root, path).status_code in (400, 415)


@pytest.mark.parametrize("data", [b"", b"<html>502</html>", gzip.compress(b"x", mtime=0), bytes(128) + b"DICM"])
def test_an_unreadable_part_of_the_study_is_refused_by_its_place_and_not_by_its_name(root: Path, data: bytes) -> None:
    (root / "study" / "doe-jane.dcm").write_bytes(data)
    response = ask(root, "study")
    assert (response.status_code, response.json["type"]) == (422, "urn:gateway:problem:study-refused")
    assert [one["place"] for one in response.json["unreadable"]] == [4]
    assert "jane" not in response.text


def test_a_path_without_dicom_has_its_nifti_files(root: Path) -> None:
    app = Gateway(__name__, settings=Settings(study_root=root))
    app.model("/")(shape)
    (root / "scan.nii.gz").write_bytes(packed(nifti()))
    answer = app.test_client().post("/", json={"studyPath": "scan.nii.gz"}, headers={"Accept": "application/json"})
    assert answer.get_json()["study_ml_json"] == {"shape": "(2, 3, 4)"}
    (root / "text").mkdir()
    (root / "text/scan.nii").write_text("no NIfTI")
    assert ask(root, "text").status_code == 404
