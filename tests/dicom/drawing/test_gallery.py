"""An answer laid over its study: each finding is seen on its image at its pixels, and on no other."""

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from gateway.client.answer import Answer
from gateway.dicom.drawing.gallery import BOX, LINE, SHEET, write_pictures
from gateway.dicom.drawing.palettes import CATEGORICAL
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.reading.instances import Instance, read_instance, read_study
from gateway.errors import AnswerInvalid, StudyRefused
from gateway.representations.pictures import drawn_findings
from tests.dicom.studies import GREY, SIZE, colours, image, put, stack, tinted, uid

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
INSIDE = {(row, column) for row in (2, 3, 4) for column in (5, 6, 7)}
Mask = np.ndarray[Any, np.dtype[np.uint8]]


def drawn(out: Path, study: list[Instance], document: dict[str, Any], *buffers: Any, **options: Any) -> list[Path]:
    """The pictures of an answer, read as the client reads it."""
    parts = document.get("parts", [])
    media = tuple("application/dicom" if part["binary_type"].startswith("dicom") else "" for part in parts)
    findings, objects = drawn_findings(Answer(document, buffers, media, "", ""), study)
    return write_pictures(out, study, findings, objects, **options)


def pictures(study: Path, out: Path, answer: dict[str, Any], *buffers: Any, **options: Any) -> list[Path]:
    """The pictures of the images: all but the contact sheet."""
    sheet, *others = drawn(out, read_study(study), answer, *buffers, **options)
    assert sheet == out / SHEET
    assert all(path.is_file() for path in (sheet, *others))
    return others


def one_part(kind: str, shape: Sequence[int], **more: Any) -> dict[str, Any]:
    names = ("timepoints", "depth", "height", "width")[-len(shape) :]
    return {"parts": [{"binary_type": kind, "binary_data_shape": dict(zip(names, shape, strict=True)), **more}]}


def dots(*shape: int) -> Mask:
    """Plane n has one pixel, at row 1 and column n."""
    mask = np.zeros((int(np.prod(shape)), SIZE, SIZE), np.uint8)
    for plane in range(len(mask)):
        mask[plane, 1, plane] = 1
    return mask


def square(value: int = 1) -> Mask:
    mask = np.zeros((1, SIZE, SIZE), np.uint8)
    mask[0, 2:5, 5:8] = value
    return mask


def single(tmp_path: Path) -> Path:
    put(tmp_path / "study", "a", image(name="a"))
    return tmp_path / "study"


FEET_TO_HEAD = {
    "in order": ["a", "b", "c", "d", "e"],
    "reversed": ["e", "d", "c", "b", "a"],
    "shuffled": ["d", "a", "e", "b", "c"],
}


@pytest.mark.parametrize("names", FEET_TO_HEAD.values(), ids=FEET_TO_HEAD)
def test_each_plane_of_a_mask_tints_its_own_slice_whatever_the_order_of_files(names: list[str], tmp_path: Path) -> None:
    stack(tmp_path / "study", names)
    written = pictures(tmp_path / "study", tmp_path, one_part("boolean_mask", (5, SIZE, SIZE)), dots(5))
    assert {path.name: tinted(path) for path in written} == {
        f"{index}_{name}.png": {(1, index)} for index, name in enumerate(names)
    }


def test_a_mask_tints_only_the_series_it_belongs_to(tmp_path: Path) -> None:
    stack(tmp_path / "study" / "1", ["a", "b"], series="first")
    stack(tmp_path / "study" / "2", ["c", "d"], series="second")
    answer = one_part("boolean_mask", (2, SIZE, SIZE), SeriesInstanceUID=uid("second"))
    written = pictures(tmp_path / "study", tmp_path, answer, dots(2))
    assert [path.name for path in written] == ["1-0_a.png", "1-1_b.png", "2-0_c.png", "2-1_d.png"]
    assert [tinted(path) for path in written] == [set(), set(), {(1, 0)}, {(1, 1)}]


def test_a_mask_tints_the_frames_of_one_image(tmp_path: Path) -> None:
    put(tmp_path / "study", "loop", image(frames=3))
    written = pictures(tmp_path / "study", tmp_path, one_part("boolean_mask", (3, SIZE, SIZE)), dots(3))
    assert {path.name: tinted(path) for path in written} == {
        f"0_loop_frame{frame}.png": {(1, frame)} for frame in range(3)
    }


def test_a_mask_of_several_time_points_tints_each_of_them(tmp_path: Path) -> None:
    stack(tmp_path / "study", ["a0", "a1", "a2", "b0", "b1", "b2"], times=2)
    answer = one_part("boolean_mask", (2, 3, SIZE, SIZE))
    written = pictures(tmp_path / "study", tmp_path, answer, dots(2, 3))
    assert [tinted(path) for path in written] == [{(1, n)} for n in range(6)]
    assert [path.name for path in written][3:] == ["3_b0.png", "4_b1.png", "5_b2.png"]
    first_alone = pictures(tmp_path / "study", tmp_path, one_part("boolean_mask", (3, SIZE, SIZE)), dots(3))
    assert [tinted(path) for path in first_alone] == [{(1, 0)}, {(1, 1)}, {(1, 2)}, set(), set(), set()]


def test_a_mask_of_one_image_tints_that_image(tmp_path: Path) -> None:
    stack(tmp_path / "study", ["a", "b", "c"])
    answer = one_part("boolean_mask", (SIZE, SIZE), dicom_image={"SOPInstanceUID": uid("series", "b")})
    written = pictures(tmp_path / "study", tmp_path, answer, square())
    assert [tinted(path) for path in written] == [set(), INSIDE, set()]


def test_each_image_shows_its_own_pixels(tmp_path: Path) -> None:
    for name, z, grey in (("a", 3.0, 30), ("b", 1.0, 200), ("c", 2.0, 90)):
        put(tmp_path / "study", name, image(name=name, z=z, pixels=np.full((SIZE, SIZE), grey)))
    written = pictures(tmp_path / "study", tmp_path, {})
    assert {path.name: int(colours(path)[8, 8, 0]) for path in written} == {
        "0_b.png": 200,
        "1_c.png": 90,
        "2_a.png": 30,
    }


@pytest.mark.parametrize(("threshold", "shown"), [(None, {3, 4}), (0.0, {2, 3, 4}), (0.7, {4})])
def test_a_probability_shows_where_it_exceeds_its_threshold(
    threshold: float | None, shown: set[int], tmp_path: Path
) -> None:
    mask = np.zeros((1, SIZE, SIZE), np.uint8)
    mask[0, 1, :5] = (0, 0, 127, 128, 255)
    more = {} if threshold is None else {"probability_threshold": threshold}
    (written,) = pictures(single(tmp_path), tmp_path, one_part("probability_mask", (SIZE, SIZE), **more), mask)
    assert tinted(written) == {(1, column) for column in shown}


def test_each_label_is_drawn_in_a_colour_of_its_own_and_the_background_is_not(tmp_path: Path) -> None:
    mask = np.zeros((1, SIZE, SIZE), np.uint8)
    mask[0, 1, :3] = (0, 1, 2)
    names = {"0": "Background", "1": "Liver", "2": "Spleen"}
    answer = one_part("numeric_label_mask", (SIZE, SIZE), label_map=names)
    (written,) = pictures(single(tmp_path), tmp_path, answer, mask)
    assert colours(written)[1, :3].tolist() == [[GREY] * 3, [*CATEGORICAL[0]], [*CATEGORICAL[1]]]


PALETTES = {
    "anchorpoints": {
        "type": "anchorpoints",
        "data": [{"threshold": 0.0, "color": [0, 0, 0, 0]}, {"threshold": 1.0, "color": [10, 200, 30, 255]}],
    },
    "lut": {"type": "lut", "data": [0, 0, 0, 0] * 255 + [10, 200, 30, 255]},
}


@pytest.mark.parametrize("kind", PALETTES)
def test_a_heatmap_is_seen_in_the_colours_of_its_palette(kind: str, tmp_path: Path) -> None:
    answer = one_part("heatmap", (SIZE, SIZE), palette="mine") | {"palettes": {"mine": PALETTES[kind]}}
    (written,) = pictures(single(tmp_path), tmp_path, answer, square(255))
    assert tinted(written) == INSIDE
    assert colours(written)[3, 6].tolist() == [10, 200, 30]


def test_a_heatmap_without_a_palette_is_seen_in_that_of_the_house(tmp_path: Path) -> None:
    (written,) = pictures(single(tmp_path), tmp_path, one_part("heatmap", (SIZE, SIZE)), square(255))
    assert tinted(written) == INSIDE


def test_a_palette_that_is_opaque_at_zero_covers_an_image_without_heat(tmp_path: Path) -> None:
    opaque = {"type": "lut", "data": [10, 20, 200, 255] * 256}
    answer = one_part("heatmap", (SIZE, SIZE), palette="blue") | {"palettes": {"blue": opaque}}
    (written,) = pictures(single(tmp_path), tmp_path, answer, square(0))
    assert colours(written)[3, 6].tolist() == [10, 20, 200]


def test_boxes_and_measurements_are_seen_at_their_coordinates_on_their_image_alone(tmp_path: Path) -> None:
    stack(tmp_path / "study", ["a", "b"])
    answer = {
        "bounding_boxes_2d": [
            {"label": "", "SOPInstanceUID": uid("series", "b"), "top_left": [2, 4], "bottom_right": [12, 11]}
        ],
        "linear_measurements_2d": [
            {
                "SOPInstanceUID": uid("series", "b"),
                "coordinates_type": "world",
                "start": [1.0, 2.0, 2.0],
                "end": [9.0, 2.0, 2.0],
            }
        ],
    }
    first, second = pictures(tmp_path / "study", tmp_path, answer)
    assert tinted(first) == set()
    seen = colours(second)
    assert seen[11, 5].tolist() == [*BOX]
    assert seen[8, 2].tolist() == seen[8, 12].tolist() == [*BOX]
    assert seen[8, 7].tolist() == [GREY] * 3
    assert seen[2, 3].tolist() == [*LINE]
    assert seen[2, 11].tolist() == [GREY] * 3


def test_an_answer_without_parts_or_findings_gives_the_plain_images_and_a_sheet(tmp_path: Path) -> None:
    stack(tmp_path / "study", ["a", "b"])
    written = pictures(tmp_path / "study", tmp_path, {"protocol_version": "1.0"})
    assert [tinted(path) for path in written] == [set(), set()]


def test_objects_without_an_image_are_passed_over(tmp_path: Path) -> None:
    study = single(tmp_path)
    for name in ("test-SR.dcm", "rtstruct.dcm", "waveform_ecg.dcm"):
        dataset = pydicom.dcmread(TEST_FILES / name, force=True)  # one of them has no preamble
        (study / name).write_bytes(convert_dataset_to_bytes(dataset))
    written = pictures(study, tmp_path, one_part("boolean_mask", (1, SIZE, SIZE)), square())
    assert [path.name for path in written] == ["0_a.png"]
    assert tinted(written[0]) == INSIDE


def test_a_study_without_any_image_gives_a_sheet_alone(tmp_path: Path) -> None:
    study = read_study(TEST_FILES / "test-SR.dcm")
    assert drawn(tmp_path / "new" / "folder", study, {}) == [tmp_path / "new" / "folder" / SHEET]


def test_a_mask_that_matches_no_series_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(AnswerInvalid) as refusal:
        pictures(single(tmp_path), tmp_path / "out", one_part("boolean_mask", (2, SIZE, SIZE)), dots(2))
    assert refusal.value.pointer == "/parts/0/binary_data_shape"
    assert not (tmp_path / "out").exists()


def test_an_image_that_cannot_be_decoded_is_refused_with_a_sentence(tmp_path: Path) -> None:
    broken = image()
    broken.PixelData = broken.PixelData[:100]
    put(tmp_path / "study", "a", broken)
    with pytest.raises(StudyRefused) as refusal:
        pictures(tmp_path / "study", tmp_path, {})
    assert "pixels" in refusal.value.detail


HOSTILE_NAMES = [
    "..dcm",
    ".hidden",
    "-rf *",
    "a b\nc",
    "$(id);`id`",
    "name.png",
    "A",
    "a",
    "a_2",
    "ünï-漢字" * 5,
    "x" * 250,
    "contact_sheet.png",
    "sc_0.png",
    "CON",
    "\udcff\udcfe",
]


def test_hostile_file_names_give_safe_names_that_differ_within_the_folder(tmp_path: Path) -> None:
    for index, name in enumerate(HOSTILE_NAMES):
        put(tmp_path / "study", name, image(name=name, series=f"series {index}"))
    out = tmp_path / "out"
    written = pictures(tmp_path / "study", out, {})
    assert len(written) == len({path.name.casefold() for path in written}) == len(HOSTILE_NAMES)
    assert sorted(out.iterdir()) == sorted([*written, out / SHEET])
    for path in written:
        assert path.name[2:5] == "-0_"
        assert path.name.isprintable()
        assert not set(path.name) & set(" /\\$`;*\n")
        assert len(path.name.encode()) < 250


@pytest.mark.parametrize("name", ["../../up", "/etc/passwd", "..", "", "9" * 5000, "a\\b"])
def test_a_hostile_uid_names_a_file_within_the_folder(name: str, tmp_path: Path) -> None:
    dataset = image()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2"
    data = convert_dataset_to_bytes(dataset)
    one = replace(read_instance(BytesIO(data)), sop_instance_uid=name)
    out = tmp_path / "out"
    _, picture = drawn(out, [one], {})
    assert picture.parent == out
    assert sorted(out.iterdir()) == sorted([picture, out / SHEET])


LABELS: list[dict[str, Any]] = [
    {"study_ml_json": {"finding": "none"}},
    {"series_ml_json": {uid("series"): {"finding": {"deep": [1, 2]}}}},
    {"series_ml_json": {uid("series"): ["no", "object"]}},
    {"series_ml_json": {uid("series"): "words alone"}},
    {"study_ml_json": {f"label {n}": "x" * 1000 for n in range(200)}},
]


@pytest.mark.parametrize("answer", LABELS)
def test_labels_are_written_only_where_requested(answer: dict[str, Any], tmp_path: Path) -> None:
    study = single(tmp_path)
    (plain,) = pictures(study, tmp_path / "plain", answer)
    (labelled,) = pictures(study, tmp_path / "labelled", answer, labels=True)
    assert (np.asarray(Image.open(plain)) == GREY).all()
    assert (np.asarray(Image.open(labelled)) != GREY).any()


def test_the_labels_of_another_series_are_not_written(tmp_path: Path) -> None:
    answer = {"series_ml_json": {uid("another"): {"finding": "much"}}}
    (written,) = pictures(single(tmp_path), tmp_path, answer, labels=True)
    assert (np.asarray(Image.open(written)) == GREY).all()


def test_texts_of_a_model_may_hold_anything(tmp_path: Path) -> None:
    text = "line\nbreak \ud800 " + "x" * 10_000
    answer = one_part("boolean_mask", (SIZE, SIZE), label=text)
    box = {"label": text, "SOPInstanceUID": uid("series", "a"), "top_left": [1e9, -1e9], "bottom_right": [1e300, 3]}
    answer |= {"bounding_boxes_2d": [box], "study_ml_json": {text: text}}
    (written,) = pictures(single(tmp_path), tmp_path, answer, square(), labels=True)
    assert tinted(written) >= {(4, 6), (4, 7)}


def test_pictures_in_an_answer_are_shown_and_reports_passed_over(tmp_path: Path) -> None:
    """They keep the names under which the parts themselves are saved."""
    report = (TEST_FILES / "test-SR.dcm").read_bytes()
    capture = (TEST_FILES / "SC_rgb_small_odd.dcm").read_bytes()
    kinds = ("dicom_structured_report", "dicom_secondary_capture", "dicom")
    answer = {"parts": [{"binary_type": kind} for kind in kinds]}
    study = single(tmp_path)
    _, shown, loop = pictures(study, tmp_path, answer, report, memoryview(capture), convert_dataset_to_bytes(image()))
    assert [shown.name, loop.name] == ["sc_0.png", "dicom_0.png"]
    assert np.ptp(np.asarray(Image.open(shown)).astype(int), axis=-1).any()


def test_several_frames_of_an_object_are_shown(tmp_path: Path) -> None:
    answer = {"parts": [{"binary_type": "dicom_secondary_capture"}]}
    loop = convert_dataset_to_bytes(image(frames=3))
    _, *shown = pictures(single(tmp_path), tmp_path, answer, loop)
    assert [path.name for path in shown] == [f"sc_0_frame{frame}.png" for frame in range(3)]
    long = convert_dataset_to_bytes(image(frames=30))
    _, *some = pictures(tmp_path / "study", tmp_path / "long", answer, long)
    assert [some[0].name, some[-1].name, len(some)] == ["sc_0_frame00.png", "sc_0_frame29.png", 12]


@pytest.mark.heavy
def test_a_sheet_of_a_large_study_shows_the_images_with_findings(tmp_path: Path) -> None:
    """Of 30 images one has a probability above its threshold: its tile alone is on the sheet, and so is large."""
    names = [f"{n:02}" for n in range(30)]
    stack(tmp_path / "study", names)
    mask = np.full((30, SIZE, SIZE), 100, np.uint8)
    mask[17, 2:5, 5:8] = 200
    pictures(tmp_path / "study", tmp_path / "one", one_part("probability_mask", (30, SIZE, SIZE)), mask)
    pictures(tmp_path / "study", tmp_path / "all", {})
    one, everything = (np.asarray(Image.open(tmp_path / folder / SHEET)).astype(int) for folder in ("one", "all"))
    assert len(one) < len(everything)
    assert np.ptp(one[120:], axis=-1).max() > 100


def test_names_sort_as_the_images_do(tmp_path: Path) -> None:
    for series in ("first", "second"):
        stack(tmp_path / "study" / series, [f"{series}{n}" for n in range(11)], series=series)
    put(tmp_path / "study", "loop", image(name="loop", frames=12, series="third"))
    names = [path.name for path in pictures(tmp_path / "study", tmp_path / "out", {})]
    assert len(names) == 34
    assert names == sorted(names)


@pytest.mark.heavy
def test_a_sheet_shows_the_labels_of_a_classification(tmp_path: Path) -> None:
    study = single(tmp_path)
    labels = {"study_ml_json": {"pneumothorax": 0.9}, "series_ml_json": {uid("series"): {"side": "left"}}}
    pictures(study, tmp_path / "plain", {})
    pictures(study, tmp_path / "labelled", labels)
    plain, labelled = (np.asarray(Image.open(tmp_path / folder / SHEET)) for folder in ("plain", "labelled"))
    assert len(labelled) > len(plain)


def test_progress_counts_every_picture(tmp_path: Path) -> None:
    put(tmp_path / "study", "loop", image(name="loop", frames=3))
    put(tmp_path / "study", "still", image(name="still", series="other"))
    counts: list[tuple[int, int]] = []
    pictures(tmp_path / "study", tmp_path, {}, progress=lambda done, total: counts.append((done, total)))
    assert counts == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["693_J2KI.dcm", "examples_palette.dcm", "examples_ybr_color.dcm", "rtdose.dcm"])
def test_images_of_any_kind_are_pictured(name: str, tmp_path: Path) -> None:
    written = pictures(TEST_FILES / name, tmp_path, {})
    assert all(np.ptp(np.asarray(Image.open(path))) > 50 for path in written[:3])
