"""DICOM objects of answers that were stored as JSON and masks, without a second run of their model."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from flask.testing import FlaskClient
from pydicom import Dataset, dcmread
from werkzeug.test import TestResponse

from gateway import Gateway, Settings
from gateway.client.answer import Answer, read_answer
from gateway.protocol.digests import hash_function
from gateway.testing import phantom_study
from tests.client.service import dense, everything
from tests.dicom.volumes.nifti_files import nifti, packed
from tests.waiting import eventually

DICOM = {"Accept": 'multipart/related; type="application/dicom"'}


class Served(NamedTuple):
    """An application with a store, and the folder below which requests name studies."""

    client: FlaskClient
    root: Path

    def run(self, path: str, words: object) -> str:
        """Submit JSON, and return the path of the run once it has finished."""
        place: str = self.client.post(f"/runs?route={path}", json=words).headers["Location"]
        eventually(lambda: self.client.get(f"{place}?wait=10").get_json()["ended"])
        assert self.client.get(place).get_json()["state"] == "finished"
        return place


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("studies")
    settings = Settings(store_folder=tmp_path_factory.mktemp("store"), study_root=root)
    app = Gateway("stored", settings=settings)
    for route, model in (("/everything", everything), ("/dense", dense)):
        app.model(route, version="1.0")(model)
    yield Served(app.test_client(), root)
    app.close()


def study(served: Served, name: str) -> dict[str, str]:
    phantom_study(served.root / name, slices=4, size=32)
    return {"studyPath": name}


def answer(response: TestResponse) -> Answer:
    """The parts of an answer, checked against their hashes."""
    assert response.status_code == 200, response.get_data(as_text=True)
    return read_answer(response.headers["Content-Type"], iter([response.get_data()]), "", hash_function("sha256"))


def objects(response: TestResponse) -> list[Dataset]:
    return [dcmread(io.BytesIO(buffer)) for buffer in answer(response).buffers]


def kept(found: Dataset) -> object:
    """What two writings of one finding share: not their times and numbers, and no codes of labels."""
    pixels = None if found.Modality == "OT" else found.get("PixelData")
    return found.Modality, found.SOPClassUID, found.StudyInstanceUID, pixels, found.PatientID


def heat(found: list[Dataset]) -> Any:
    """The values of the parametric map: floats, or the 256 of an answer in JSON."""
    (one,) = [one for one in found if one.Modality == "OT"]
    return (
        np.frombuffer(one.PixelData, np.uint16) / 255
        if "PixelData" in one
        else np.frombuffer(one.FloatPixelData, np.float32)
    )


def test_every_kind_of_finding_becomes_the_object_of_the_route(served: Served) -> None:
    words = study(served, "every")
    run = served.run("/everything", words)
    made = objects(served.client.get(f"{run}/result", headers=DICOM))
    direct = objects(served.client.post("/everything", json=words, headers=DICOM))
    assert {found.Modality for found in made} == {"SEG", "OT", "SR", "PR"}
    assert list(map(kept, made)) == list(map(kept, direct))
    assert np.abs(heat(made) - heat(direct)).max() <= 0.501 / 255


def test_a_receipt_is_sent_with_what_it_states(served: Served) -> None:
    run = served.run("/dense", study(served, "receipt"))
    asked = {"Prefer": "receipt"}
    assert "Preference-Applied" in served.client.get(f"{run}/result", headers=asked).headers
    assert "Preference-Applied" not in served.client.get(f"{run}/result", headers=asked | DICOM).headers


def test_a_study_that_is_gone_or_another_leaves_what_needs_no_images(served: Served) -> None:
    words = study(served, "changing")
    run = served.run("/dense", words)
    shutil.copy(next((served.root / "changing").iterdir()), served.root / "changing" / "more.dcm")
    for _ in range(2):
        for accept in ("application/dicom", "application/x-nifti", "image/png"):
            refused = served.client.get(f"{run}/result", headers={"Accept": accept})
            assert (refused.status_code, refused.get_json()["type"]) == (406, "urn:gateway:problem:not-acceptable")
        assert served.client.get(f"{run}/result", headers={"Accept": "application/zip"}).status_code == 200
        shutil.rmtree(served.root / "changing", ignore_errors=True)


def test_a_nifti_file_has_no_study_for_objects(served: Served) -> None:
    data = {"file": (io.BytesIO(packed(nifti())), "volume.nii.gz")}
    response = served.client.post("/runs?route=/dense", data=data)
    run = response.headers["Location"]
    eventually(lambda: served.client.get(f"{run}?wait=10").get_json()["ended"])
    assert served.client.get(f"{run}/result", headers={"Accept": "application/x-nifti"}).status_code == 200
    assert served.client.get(f"{run}/result", headers={"Accept": "application/dicom"}).status_code == 406
