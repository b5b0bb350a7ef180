"""One suite for a client of a server and for one without a server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import generate_uid

from gateway import Client, LocalClient
from gateway.client import Conflict, InferenceResult, Reference, Refused
from gateway.client.reading import origin
from gateway.contract.findings import (
    BoundingBox,
    Classification,
    Finding,
    Heatmap,
    LabelMask,
    LinearMeasurement,
    Mask,
    ProbabilityMask,
    StructuredReport,
)
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.reading.instances import read_instance
from gateway.dicom.samples import phantom
from gateway.dicom.volumes.segmentations import read_object
from tests.conftest import Serve

SERVICE = "tests.client.service:app"
SHAPE = (6, 24, 32)
Make = Callable[[], Client]


@pytest.fixture(scope="module", params=["server", "folder"])
def make(request: pytest.FixtureRequest, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A client of a gateway with a store: over HTTP, or on a folder."""
    folder, cache = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("cache")
    if request.param == "folder":
        return lambda: LocalClient(folder, SERVICE, cache=cache)
    server = serve(SERVICE, GATEWAY_STORE_FOLDER=str(folder))
    return lambda: Client(server.url, timeout=60, cache=cache)


@pytest.fixture
def client(make: Make) -> Iterator[Client]:
    with make() as client:
        yield client


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study for each test, so that tests do not share one."""
    return write(tmp_path / "study")


def write(folder: Path) -> Path:
    """Slices that are not square, of a new study."""
    phantom.write(folder, slices=SHAPE[0], size=32)
    study, series = generate_uid(), generate_uid()
    for path in folder.iterdir():
        dataset = read_object(path.read_bytes())
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.PixelData = dataset.pixel_array[: SHAPE[1]].tobytes()
        dataset.Rows = SHAPE[1]
        path.write_bytes(convert_dataset_to_bytes(dataset))
    return folder


def of_kind(result: InferenceResult, kind: type[Finding]) -> Any:
    (found,) = [one for one in result.findings if isinstance(one, kind)]
    return found


# ---- asking with the bytes ----


def test_findings_are_typed_and_lie_on_the_study(client: Client, study: Path) -> None:
    result = client.infer(study, "/everything", {"threshold": 200})
    assert [type(one) for one in result.findings] == [
        Mask, ProbabilityMask, LabelMask, Heatmap, BoundingBox, LinearMeasurement, Classification
    ]  # fmt: skip
    mask = of_kind(result, Mask)
    assert (mask.label, mask.array.shape, mask.array.dtype) == ("dense", SHAPE, bool)
    assert [one.sop_instance_uid for one in mask.of.instances] == [one.sop_instance_uid for one in result.source]
    np.testing.assert_array_equal(mask.array, mask.of.array > 200)
    assert of_kind(result, ProbabilityMask).threshold == 0.25
    assert of_kind(result, LabelMask).labels == {1: "soft", 2: "hard"}
    assert of_kind(result, Heatmap).palette == [(0.0, (0, 0, 0, 0)), (1.0, (255, 0, 0, 255))]
    assert of_kind(result, Classification).labels == {"side": "left", "score": 0.5}


def test_boxes_and_lengths_lie_on_their_image(client: Client, study: Path) -> None:
    result = client.infer(study, "/everything")
    box, line = of_kind(result, BoundingBox), of_kind(result, LinearMeasurement)
    assert (box.label, box.top_left, box.bottom_right) == ("box", (1, 2), (10, 12))
    assert box.of.instance is result.source[3]
    assert (line.start, line.end, line.of.instance) == ((1, 2), (10, 2), result.source[2])


def test_masks_are_arrays_on_the_geometry_of_the_source(client: Client, study: Path) -> None:
    result = client.infer(sorted(study.iterdir(), reverse=True), "/everything")
    assert [mask.shape for mask in result.masks] == [SHAPE] * 4
    again = client.infer(study, "/everything")
    for one, other in zip(result.masks, again.masks, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_answer_names_the_model_that_gave_it_and_its_version(client: Client, study: Path) -> None:
    named, escaped = client.infer(study, "/everything"), client.infer(study, "/umlaut")
    assert origin(named.answer, "/everything").startswith("Model everything 1.0 on /everything. ")
    assert (escaped.answer.model, escaped.answer.model_version) == ("größe", "2; 50 % ß")
    made = next(each for each in named.objects if each.Modality == "SEG")
    assert (made.ManufacturerModelName, made.SoftwareVersions) == ("everything", "1.0")


def test_a_result_is_saved_as_received(client: Client, study: Path, tmp_path: Path) -> None:
    result = client.infer(study, "/everything")
    names = {path.name for path in result.save(tmp_path / "out")}
    assert names == {"response.json", *(f"output_masks_{n}.npy" for n in range(1, 5))}
    assert json.loads((tmp_path / "out/response.json").read_text()) == result.json


def test_a_result_becomes_pictures(client: Client, study: Path, tmp_path: Path) -> None:
    paths = client.infer(study, "/everything").to_png(tmp_path / "png", labels=True)
    assert (len(paths), paths[0].name) == (SHAPE[0] + 1, "contact_sheet.png")
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_a_segmentation_is_pictured_over_the_study_as_the_array_is(client: Client, study: Path, tmp_path: Path) -> None:
    _, *arrays = client.infer(study, "/dense").to_png(tmp_path / "array")
    result = client.infer(study, "/dense", output="dicom")
    _, *segments = result.to_png(tmp_path / "segments")
    assert [path.name for path in segments] == [path.name for path in arrays]
    assert [path.read_bytes() for path in segments] == [path.read_bytes() for path in arrays]
    assert {path.name for path in result.save(tmp_path / "saved")} == {"response.json", "seg_0.dcm"}


# ---- NIfTI and DICOM say the same ----


def nifti(path: Path) -> tuple[Any, Any]:
    """(slice, row, column) and the affine to LPS mm, as nibabel reads them."""
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.load(path)
    affine = np.diag([-1, -1, 1, 1]) @ image.affine
    return np.asarray(image.dataobj).T, affine[:, [2, 1, 0, 3]]


def segments(path: Path, study: Path) -> list[tuple[Any, Any]]:
    """Each segment of a Segmentation and its affine, as highdicom reads them, on the geometry of ``study``."""
    from highdicom.seg import segread

    seg = segread(path)
    source = [one.sop_instance_uid for one in _in_space(study)]
    found = seg.get_pixels_by_source_instance(
        source, combine_segments=False, ignore_spatial_locations=False, assert_missing_frames_are_empty=True,
        rescale_fractional=True,
    )  # fmt: skip
    volume = seg.get_volume(combine_segments=False, allow_missing_positions=True)
    return [(found[..., index], volume) for index in range(found.shape[-1])]


def _in_space(study: Path) -> list[Any]:
    from gateway.dicom.reading.instances import sort_spatially

    return sort_spatially(read_instance(path) for path in study.iterdir())


def is_segmentation(path: Path) -> bool:
    return bool(read_object(path.read_bytes()).SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.4")


def test_nifti_is_equal_to_dicom_read_back(client: Client, study: Path, tmp_path: Path) -> None:
    from gateway.dicom.volumes.study import study as study_of

    result = client.infer(study, "/everything", {"threshold": 200})
    dense, chance, tissue, _ = (nifti(path) for path in result.to_nifti(tmp_path / "nii"))
    found = [
        one for path in result.to_dicom(tmp_path / "dcm") if is_segmentation(path) for one in segments(path, study)
    ]
    in_nifti = [dense[0], tissue[0] == 1, tissue[0] == 2, chance[0]]
    assert len(found) == len(in_nifti)
    assert dense[0].any()
    for (array, _), expected in zip(found, in_nifti, strict=True):
        np.testing.assert_allclose(array, expected, atol=1e-6)
    truth = study_of([study]).series[0].volume().affine
    for _, affine in (dense, chance, tissue):
        np.testing.assert_allclose(affine, truth, atol=1e-4)


def test_dicom_of_the_gateway_and_of_the_client_have_the_same_content(client: Client, study: Path) -> None:
    made = client.infer(study, "/everything", {"threshold": 200})
    sent = client.infer(study, "/everything", {"threshold": 200}, output="dicom")
    assert sorted(one.SOPClassUID for one in sent.objects) == sorted(one.SOPClassUID for one in made.objects)
    dense, soft, hard, chance = sent.masks
    np.testing.assert_array_equal(dense, made.masks[0])
    np.testing.assert_array_equal(chance, made.masks[1])
    np.testing.assert_array_equal(soft + 2 * hard, made.masks[2])
    assert isinstance(sent.findings[-1], StructuredReport)
    np.testing.assert_allclose(sent.findings[0].of.affine, made.findings[0].of.affine)


# ---- a study that is kept ----


def test_a_study_is_sent_once(client: Client, study: Path) -> None:
    assert (client.upload(study).sent, client.upload(study).sent) == (SHAPE[0], 0)
    uids = [one["study_instance_uid"] for one in client.studies()]
    assert read_instance(next(study.iterdir())).header.StudyInstanceUID in uids


def test_a_study_that_is_named_is_answered_as_if_it_were_sent(client: Client, study: Path) -> None:
    kept, sent = client.upload(study), client.infer(study, "/everything", {"threshold": 200})
    named = client.infer(kept, "/everything", {"threshold": 200})
    assert [bytes(buffer) for buffer in named.answer.buffers] == [bytes(buffer) for buffer in sent.answer.buffers]
    assert named.json == sent.json
    assert [type(one) for one in named.findings] == [type(one) for one in sent.findings]
    uid = kept.study_instance_uids[0]
    assert client.infer(Reference(study=uid), "/everything", {"threshold": 200}).json == sent.json


def test_a_conflict_is_reported_and_the_caller_decides(client: Client, study: Path) -> None:
    client.upload(study)
    changed = next(study.iterdir())
    dataset = read_object(changed.read_bytes())
    dataset.SeriesDescription = "another"
    changed.write_bytes(convert_dataset_to_bytes(dataset))
    with pytest.raises(Conflict) as caught:
        client.upload(study)
    assert [conflict.sop_instance_uid for conflict in caught.value.conflicts] == [dataset.SOPInstanceUID]
    assert client.upload(study, on_conflict="keep").retained == (dataset.SOPInstanceUID,)
    assert client.upload(study, on_conflict="replace").sent == 1
    assert client.upload(study).sent == 0


def test_what_is_forgotten_is_missing_again(client: Client, study: Path) -> None:
    kept = client.upload(study)
    assert client.forget(kept.study_instance_uids[0])["instances"] == SHAPE[0]
    assert client.upload(study).sent == SHAPE[0]
    with pytest.raises(Refused, match="404"):
        client.forget("1.2.3")


@pytest.mark.parametrize("named", [False, True])
def test_a_preflight_reports_which_models_would_accept_a_study(client: Client, study: Path, named: bool) -> None:
    asked = client.upload(study) if named else study
    accepted = {one.model: one.accepted for one in client.preflight(asked)}
    assert accepted == {"/everything": True, "/dense": True, "/mr": False, "/umlaut": True}
    (verdict,) = client.preflight(asked, ["/mr"])
    assert "MR" in verdict.reasons[0]


def test_results_of_a_deterministic_model_are_stored_and_found(client: Client, study: Path) -> None:
    kept = client.upload(study)
    uid = kept.study_instance_uids[0]
    first = client.infer(kept, "/everything", {"threshold": 150})
    (record,) = client.results(study=uid)
    assert (record["version"], record["instances"]) == ("1.0", SHAPE[0])
    again = client.result(record["id"])
    assert (again.json, again.output_digest) == (first.json, first.answer.output_digest)
    assert client.results(study=uid, model="/mr") == []
    assert client.results(study=uid, since="2999-01-01T00:00:00Z") == []


# ---- bundles ----


def test_a_bundle_is_pushed_and_pulled(client: Client, tmp_path: Path) -> None:
    for index in range(20):
        path = tmp_path / "weights" / f"fold{index % 2}" / f"{index}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([index]) * 100)
    assert len(client.push_bundle("lungs", tmp_path / "weights").moved) == 20
    assert len(client.pull_bundle("lungs", tmp_path / "out").moved) == 20
    assert client.pull_bundle("lungs", tmp_path / "out").moved == ()
    assert (tmp_path / "out/fold1/7.bin").read_bytes() == bytes([7]) * 100
    (tmp_path / "weights/fold0/0.bin").write_bytes(b"new")
    (tmp_path / "weights/fold0/2.bin").unlink()
    pushed = client.push_bundle("lungs", tmp_path / "weights")
    assert (pushed.moved, pushed.removed) == (("fold0/0.bin",), ("fold0/2.bin",))


def test_a_missing_bundle_is_reported(client: Client, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="404"):
        client.pull_bundle("nothing", tmp_path)
