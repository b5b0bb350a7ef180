"""The example models answer protocol 1.0 on real files, and refuse others with a sentence."""

import hashlib
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from gateway import InferenceSerializer, StudyRefused
from gateway.binding.preflight import preflight
from gateway.binding.typed_model import TypedModel
from gateway.contract.model import adapt
from gateway.contract.requests import Request
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.samples import phantom
from gateway.protocol.response import check
from models.app import MODELS, PLAIN
from tests.dicom.studies import image, uid
from tests.dicom.volumes.nifti_files import nifti, packed

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
RECEIVED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
VOLUME = ("/", "/segmentation-3d")
EACH_IMAGE = ("/bounding-boxes", "/classification", "/secondary-capture", "/segmentation-2d")
Answer = tuple[dict[str, Any], list[bytes]]


def files_at(*names: str) -> list[bytes]:
    paths = [TEST_FILES / name for name in names]
    return [file.read_bytes() for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]


def asked(route: str, files: list[bytes], digest: str = "0" * 64) -> Answer:
    """The answer of a model, checked as strictly as the gateway checks it."""
    target = MODELS[route]
    model = adapt(route, target) if target in PLAIN else TypedModel(route, target)
    request = Request({}, [io.BytesIO(file) for file in files], digest, received=RECEIVED)
    answer = model.predict(request)
    sent, parts = check(answer.json, answer.buffers, serializer=InferenceSerializer(), strict=True, warn=pytest.fail)
    return json.loads(sent), [bytes(part.data) for part in parts]


def refusal(route: str, files: list[bytes]) -> str:
    with pytest.raises(StudyRefused) as refused:
        asked(route, files)
    return refused.value.detail


def masks(answer: Answer) -> list[np.ndarray[Any, Any]]:
    words, parts = answer
    shapes = [entry["binary_data_shape"] for entry in words["parts"]]
    return [
        np.frombuffer(part, np.uint8).reshape(shape.get("depth", 1), shape["height"], shape["width"])
        for shape, part in zip(shapes, parts, strict=True)
    ]


def of_one_study(file: bytes, *names: str) -> list[bytes]:
    """Other files as if they were of the study and the patient of ``file``."""
    study = pydicom.dcmread(io.BytesIO(file))
    datasets = [pydicom.dcmread(io.BytesIO(one)) for one in files_at(*names)]
    for dataset in datasets:
        dataset.StudyInstanceUID, dataset.PatientID = study.StudyInstanceUID, study.PatientID
    return encoded(*datasets)


def encoded(*datasets: Dataset) -> list[bytes]:
    return [convert_dataset_to_bytes(dataset) for dataset in datasets]


@pytest.fixture(scope="module")
def chest() -> tuple[list[bytes], np.ndarray[Any, Any]]:
    """The phantom, its slices shuffled, and its HU from feet to head."""
    slices = list(phantom.datasets(slices=16, size=128))
    values = np.stack([one.pixel_array.astype(int) + int(one.RescaleIntercept) for one in slices])
    order = np.random.default_rng(1).permutation(len(slices))
    return encoded(*(slices[index] for index in order)), values


@pytest.mark.filterwarnings("ignore:The string:UserWarning")  # highdicom, of a name without a family name
@pytest.mark.parametrize("route", MODELS)
@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "693_J2KI.dcm",
        "image_dfl.dcm",
        "dicomdirtests/77654033/CT2",
        "dicomdirtests/98892001/CT5N",
        "dicomdirtests/98892003/MR2",
        "dicomdirtests/98892003/MR700",
    ],
)
def test_a_real_study_gets_a_valid_answer_or_a_refusal_with_a_sentence(route: str, name: str) -> None:
    files = files_at(name)
    try:
        words, parts = asked(route, files)
    except StudyRefused as refused:
        assert refused.detail.endswith(".")
        return
    assert words["protocol_version"] == "1.0"
    assert len(words["parts"]) == len(parts)


@pytest.mark.parametrize("route", VOLUME)
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "dicomdirtests/98892001/CT5N"])
def test_a_series_is_segmented_as_a_volume_of_its_size(route: str, name: str) -> None:
    files = files_at(name)
    words, _ = answer = asked(route, files)
    header = pydicom.dcmread(io.BytesIO(files[0]))
    assert {mask.shape for mask in masks(answer)} == {(len(files), header.Rows, header.Columns)}
    assert {part["SeriesInstanceUID"] for part in words["parts"]} == {header.SeriesInstanceUID}
    assert len(words["parts"]) == (2 if header.Modality == "CT" else 1)


def test_a_colour_photograph_is_read_by_its_brightness() -> None:
    words, _ = asked("/bounding-boxes", files_at("SC_rgb_jpeg_dcmtk.dcm"))
    assert len(words["bounding_boxes_2d"]) == 1


def test_the_mask_of_the_body_covers_the_body_of_the_phantom(chest: Any) -> None:
    """The couch, below the patient, is another component; the lungs are inside."""
    files, hounsfield = chest
    probability = masks(asked("/segmentation-3d", files))[0]
    body, truth = probability > 127, in_skin(*hounsfield.shape)
    overlap = 2 * (body & truth).sum() / (body.sum() + truth.sum())
    assert overlap > 0.97
    assert probability[truth & (hounsfield > -150)].mean() > 240


def in_skin(slices: int, rows: int, columns: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The skin of the phantom: an ellipse that sways by two hundredths along z."""
    x = (np.arange(columns) + 0.5) * phantom.WIDTH_MM / columns - phantom.WIDTH_MM / 2
    z = (np.arange(slices) + 0.5) * phantom.HEIGHT_MM / slices - phantom.HEIGHT_MM / 2
    waist = (1 + 0.02 * np.sin(z / 50))[:, None, None]
    return np.asarray((x / (158 * waist)) ** 2 + (x[:, None] / (112 * waist)) ** 2 < 1)


@pytest.mark.parametrize("route", VOLUME)
def test_a_nifti_file_without_a_modality_is_refused_by_preflight_as_by_the_model(route: str) -> None:
    file = packed(nifti())
    models = {route: TypedModel(route, MODELS[route])}
    ((reason,),) = [opinion.request.reasons for opinion in preflight(models, [io.BytesIO(file)])]
    assert reason == refusal(route, [file])
    (stated,) = preflight(models, [io.BytesIO(file)], modality="MR")
    assert stated.request.accepted


def test_air_and_bone_are_where_the_phantom_has_their_hounsfield_units(chest: Any) -> None:
    files, hounsfield = chest
    words, _ = answer = asked("/segmentation-3d", files)
    probability, labels = masks(answer)
    assert words["parts"][1]["label_map"] == {"1": "Air", "2": "Bone"}
    sure = probability == 255
    assert (labels[sure & (hounsfield < -500)] == 1).all()
    assert (labels[sure & (hounsfield > 250)] == 2).all()
    assert (labels[sure & (hounsfield >= -500) & (hounsfield <= 250)] == 0).all()
    assert (labels[probability == 0] == 0).all()
    assert (labels == 1).sum() > 10_000
    assert (labels == 2).sum() > 1_000


def test_the_order_of_the_files_does_not_change_the_answer(chest: Any) -> None:
    files, _ = chest
    for route in VOLUME:
        forth, back = asked(route, files), asked(route, files[::-1])
        assert forth[0] == back[0]
        assert forth[1] == back[1]


def test_a_box_is_drawn_around_the_body_on_each_image(chest: Any) -> None:
    files, hounsfield = chest
    words, _ = asked("/bounding-boxes", files)
    slices, rows, columns = hounsfield.shape
    by_uid = {box["SOPInstanceUID"]: box for box in words["bounding_boxes_2d"]}
    assert len(by_uid) == slices
    for file in files:
        header = pydicom.dcmread(io.BytesIO(file), stop_before_pixels=True)
        plane = in_skin(slices, rows, columns)[header.InstanceNumber - 1]
        across, down = np.flatnonzero(plane.any(axis=0)), np.flatnonzero(plane.any(axis=1))
        box = by_uid[header.SOPInstanceUID]
        assert box["top_left"] == pytest.approx([across[0], down[0]], abs=2)
        assert box["bottom_right"] == pytest.approx([across[-1], down[-1]], abs=2)
    (line,) = words["linear_measurements_2d"]
    assert line["end"][0] - line["start"][0] == pytest.approx(2 * 161 / phantom.WIDTH_MM * columns, abs=3)


def test_heat_lies_on_dense_tissue_and_never_outside_the_body(chest: Any) -> None:
    files, _ = chest
    words, _ = answer = asked("/segmentation-2d", files[:1])
    (heat,), header = masks(answer), pydicom.dcmread(io.BytesIO(files[0]))
    hounsfield = header.pixel_array.astype(int) - 1024
    plane = in_skin(16, 128, 128)[header.InstanceNumber - 1]
    assert heat[0][plane & (hounsfield > 100)].mean() > heat[0][plane & (hounsfield < -700)].mean() + 100
    assert (heat[0][~plane] > 0).mean() < 0.01
    assert words["parts"][0]["dicom_image"] == {"SOPInstanceUID": header.SOPInstanceUID}
    assert words["parts"][0]["palette"] in words["palettes"]


def test_labels_count_images_and_describe_each_series(chest: Any) -> None:
    files, _ = chest
    words, parts = asked("/classification", [*files, *of_one_study(files[0], "MR_small.dcm")])
    assert parts == []
    assert words["study_ml_json"] == {"images": 17, "series": 2}
    by_modality = {labels["modality"]: labels for labels in words["series_ml_json"].values()}
    assert by_modality["CT"]["images"] == 16
    assert by_modality["CT"]["body fraction"] == pytest.approx(in_skin(16, 128, 128).mean(), abs=0.02)


def capture(files: list[bytes], digest: str = "0" * 64) -> Dataset:
    words, (part,) = asked("/secondary-capture", files, digest)
    assert words["parts"][0]["binary_type"] == "dicom_secondary_capture"
    return pydicom.dcmread(io.BytesIO(part))


def test_a_secondary_capture_joins_the_study_in_a_series_of_its_own(chest: Any) -> None:
    files, _ = chest
    read, source = capture(files), pydicom.dcmread(io.BytesIO(files[0]))
    assert read.SOPClassUID == SecondaryCaptureImageStorage
    assert read.StudyInstanceUID == source.StudyInstanceUID
    assert read.PatientID == source.PatientID
    assert read.SeriesInstanceUID != source.SeriesInstanceUID
    assert read.pixel_array.shape == (128, 128, 3)
    yellow = (read.pixel_array == (255, 210, 0)).all(axis=-1)
    assert yellow.sum() > 200
    assert not yellow[in_skin(16, 128, 128).all(axis=0)].any()


def test_the_same_input_gives_the_same_capture_to_the_byte_and_another_digest_other_uids(chest: Any) -> None:
    files, _ = chest
    first, second = (asked("/secondary-capture", files)[1][0] for _ in range(2))
    assert first == second
    one, other = capture(files), capture(files, hashlib.sha256(b"other").hexdigest())
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.SeriesInstanceUID != other.SeriesInstanceUID


@pytest.mark.parametrize("z", [None, 0.0])
def test_a_capture_is_made_of_an_image_with_or_without_a_position_and_has_no_position(z: float | None) -> None:
    made = capture(encoded(image(z=z)))
    assert "ImagePositionPatient" not in made
    assert not made.PatientOrientation


@pytest.mark.parametrize("route", MODELS)
def test_reports_are_passed_over(route: str) -> None:
    image_alone = files_at("CT_small.dcm")
    with_others = [*of_one_study(image_alone[0], "test-SR.dcm"), *image_alone]
    assert asked(route, with_others)[0] == asked(route, image_alone)[0]


@pytest.mark.parametrize("route", MODELS)
def test_attachments_are_passed_over_by_the_plain_model_and_refused_by_the_typed_ones(route: str) -> None:
    image_alone = files_at("CT_small.dcm")
    with_others = [b"", b"%PDF-1.7", b"x" * 4096, *image_alone]
    if MODELS[route] in PLAIN:
        assert asked(route, with_others)[0] == asked(route, image_alone)[0]
    else:
        sentence = "This model takes no attachments; 3 files of the request are not DICOM."
        assert refusal(route, with_others).startswith(f"{sentence} File 1: It has no bytes. File 2: ")


@pytest.mark.parametrize("route", MODELS)
@pytest.mark.parametrize("files", [[], ["test-SR.dcm"], ["dicomdirtests/DICOMDIR"]], ids=str)
def test_a_request_without_an_image_is_refused(route: str, files: list[str]) -> None:
    assert "the request holds no dicom image" in refusal(route, files_at(*files)).lower()


BROKEN = {
    "MR_truncated.dcm": "The pixels of an image are missing or broken.",
    "badVR.dcm": "NumberOfFrames (0028,0008)",
    "meta_missing_tsyntax.dcm": "Rows (0028,0010)",
    "nested_priv_SQ.dcm": "Rows (0028,0010)",
    "JPGExtended.dcm": "JPEG Extended of 12 bits cannot be decoded",
}


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("route", MODELS)
@pytest.mark.parametrize("name", BROKEN)
def test_an_image_that_is_broken_or_cannot_be_decoded_is_refused(route: str, name: str) -> None:
    plain, typed = "An image of the study is broken or cannot be decoded here.", BROKEN[name]
    sooner = ("do not say where they lie", "needs CT or MR") if route in VOLUME else ()
    detail = refusal(route, files_at(name))
    assert plain == detail if MODELS[route] in PLAIN else any(sentence in detail for sentence in (typed, *sooner))


@pytest.mark.parametrize("route", EACH_IMAGE)
def test_frames_and_palette_colours_are_refused_by_the_plain_model_and_read_by_the_typed_ones(route: str) -> None:
    frames, palette = encoded(image(frames=3)), files_at("examples_palette.dcm")
    if MODELS[route] in PLAIN:
        assert "single-frame" in refusal(route, frames)
        assert "palette" in refusal(route, palette)
    else:
        assert asked(route, frames)
        assert asked(route, palette)


def series_with(*heights: float | None, **more: Any) -> list[bytes]:
    return encoded(*(image(name=str(n), z=z, **more) for n, z in enumerate(heights)))


def test_three_slices_with_gaps_of_any_length_are_segmented_with_a_note() -> None:
    answer = asked("/segmentation-3d", series_with(0, 12, 180))
    assert [mask.shape[0] for mask in masks(answer)][0] == 3
    assert "12.00 to 168.00 mm" in json.dumps(answer[0])


NO_VOLUME: dict[str, tuple[Callable[[], list[bytes]], str]] = {
    "several series": (
        lambda: [*series_with(0, 1), *series_with(2, 3, series="other")],
        "This model takes one series; the study holds 2 that fit. Send the one to use.",
    ),
    "no position": (
        lambda: series_with(0, None),
        "do not say where they lie in the patient",
    ),
    "no orientation": (
        lambda: series_with(0, 1, orientation=()),
        "do not say where they lie in the patient",
    ),
    "one position": (
        lambda: series_with(3, 3),
        "several time points",
    ),
    "two time points": (
        lambda: series_with(0, 1, 0, 1),
        "several time points",
    ),
    "several orientations": (
        lambda: [*series_with(0, 1), *encoded(image(name="coronal", z=2, orientation=(1, 0, 0, 0, 0, -1)))],
        "parallel images",
    ),
    "several sizes": (
        lambda: [*series_with(0, 1), *encoded(image(name="large", z=2, size=(32, 32)))],
        "images of one size",
    ),
}


@pytest.mark.parametrize("fault", NO_VOLUME)
def test_images_that_form_no_volume_are_refused_as_one_and_accepted_image_by_image(fault: str) -> None:
    made, sentence = NO_VOLUME[fault]
    files = made()
    for route in VOLUME:
        assert sentence in refusal(route, files)
    for route in EACH_IMAGE:
        asked(route, files)


@pytest.mark.parametrize("route", MODELS)
def test_an_image_of_one_value_has_no_body(route: str) -> None:
    words, _ = answer = asked(route, encoded(image(name="blank")))
    assert words.get("bounding_boxes_2d", []) == []
    assert words.get("linear_measurements_2d", []) == []
    if any("binary_data_shape" in part for part in words["parts"]):
        assert not any(mask.any() for mask in masks(answer))


def test_an_inverted_image_has_the_same_body() -> None:
    """MONOCHROME1 shows large values dark (PS3.3 C.7.6.3.1.2)."""
    pixels = np.full((1, 64, 64), 50)
    pixels[0, 20:40, 10:30] = 900
    pixels += np.random.default_rng(2).integers(0, 20, pixels.shape)
    upright, inverted = image(size=(64, 64), pixels=pixels), image(size=(64, 64), pixels=1000 - pixels)
    inverted.PhotometricInterpretation = "MONOCHROME1"
    boxes = [asked("/bounding-boxes", encoded(one))[0]["bounding_boxes_2d"] for one in (upright, inverted)]
    assert boxes[0] == boxes[1]
    assert boxes[0][0]["SOPInstanceUID"] == uid("series", "image")


@pytest.mark.parametrize("rescale", [(None, None), (1, None), (None, 0), (0, 0)])
def test_a_rescale_that_is_no_number_is_refused(rescale: tuple[Any, Any]) -> None:
    unreadable = image(pixels=np.arange(256).reshape(1, 16, 16))
    unreadable.RescaleSlope, unreadable.RescaleIntercept = rescale
    assert refusal("/classification", encoded(unreadable))
