"""Each plane of a mask has its image, each box and measurement its pixels; a finding without one is refused."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from scipy.spatial.transform import Rotation

from gateway.dicom.drawing import layers as drawn_layers
from gateway.dicom.drawing import marks as drawn_marks
from gateway.dicom.drawing.layers import Key, Layer
from gateway.dicom.drawing.marks import Mark
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.reading.geometry import affine, to_patient
from gateway.dicom.reading.instances import Instance, read_instance
from gateway.errors import AnswerInvalid
from gateway.representations.placement import placed_masks, placed_members
from tests.dicom.studies import SIZE, image, uid
from tests.examples import examples

Shape = dict[str, int]


def received(*datasets: Dataset) -> list[Instance]:
    return [read_instance(io.BytesIO(convert_dataset_to_bytes(dataset))) for dataset in datasets]


def layers(study: Sequence[Instance], answer: dict[str, Any], buffers: Sequence[Any]) -> list[Layer]:
    """The masks of an answer over a study."""
    return drawn_layers.layers(placed_masks(answer, buffers, study))


def marks(study: Sequence[Instance], answer: dict[str, Any]) -> dict[Key, list[Mark]]:
    """The boxes and lengths of an answer over a study."""
    return drawn_marks.marks(placed_members(answer, study))


def part(depth: int | None = None, *, timepoints: int | None = None, size: int = SIZE, **more: Any) -> dict[str, Any]:
    shape = {"timepoints": timepoints, "depth": depth, "height": size, "width": size}
    return {"binary_type": "heatmap", "binary_data_shape": {k: v for k, v in shape.items() if v}} | more


def numbered(planes: int, size: int = SIZE) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A mask whose every plane has its own number."""
    return np.repeat(np.arange(planes, dtype=np.uint8), size * size)


def placed(instances: Sequence[Instance], entry: dict[str, Any], mask: Any) -> dict[tuple[str, int], int]:
    """The number of the plane on each image, by SOP Instance UID and frame."""
    (layer,) = layers(instances, {"parts": [entry]}, [mask])
    planes = {(one.sop_instance_uid, f): layer.at((one.source, f)) for one in instances for f in range(one.frames)}
    return {key: int(plane[0, 0]) for key, plane in planes.items() if plane is not None}


@given(order=st.permutations(range(6)), numbers=st.permutations(range(6)))
@settings(deadline=None, max_examples=examples(30))
def test_slices_are_counted_along_the_normal_however_files_and_instances_are_numbered(
    order: list[int], numbers: list[int]
) -> None:
    slices = [image(name=f"slice {z}", z=float(z), number=numbers[z]) for z in range(6)]
    found = placed(received(*(slices[index] for index in order)), part(6), numbered(6))
    assert found == {(uid("series", f"slice {z}"), 0): z for z in range(6)}


@given(order=st.permutations(range(6)))
@settings(deadline=None, max_examples=examples(20))
def test_time_points_are_counted_outermost(order: list[int]) -> None:
    """Three slices at two times: instances 1 to 3 are the first pass over the slices, 4 to 6 the second."""
    both = [image(name=f"{t} {z}", z=float(z), number=1 + z + 3 * t) for t in range(2) for z in range(3)]
    study = received(*(both[index] for index in order))
    expected = {(uid("series", f"{t} {z}"), 0): z + 3 * t for t in range(2) for z in range(3)}
    assert placed(study, part(3, timepoints=2), numbered(6)) == expected
    first = {key: number for key, number in expected.items() if number < 3}
    assert placed(study, part(3), numbered(3)) == first


def test_a_mask_is_placed_on_the_series_that_it_names_else_on_the_first_that_matches() -> None:
    study = received(
        *(image(series="three", name=f"a{z}", z=float(z)) for z in range(3)),
        *(image(series="two", name=f"b{z}", z=float(z)) for z in range(2)),
        *(image(series="also two", name=f"c{z}", z=float(z)) for z in range(2)),
    )
    assert placed(study, part(2), numbered(2)) == {(uid("two", f"b{z}"), 0): z for z in range(2)}
    named = part(2, SeriesInstanceUID=uid("also two"))
    assert placed(study, named, numbered(2)) == {(uid("also two", f"c{z}"), 0): z for z in range(2)}


def test_frames_of_one_image_count_as_slices() -> None:
    study = received(image(name="loop", frames=4))
    assert placed(study, part(4), numbered(4)) == {(uid("series", "loop"), frame): frame for frame in range(4)}


@pytest.mark.parametrize(("number", "frame"), [(None, 0), (0, 0), (1, 0), (2, 1), (4, 3)])
def test_a_frame_is_counted_from_one_and_zero_is_the_first(number: int | None, frame: int) -> None:
    study = received(image(name="loop", frames=4), image(name="other", series="other"))
    named = {"SOPInstanceUID": uid("series", "loop")} | ({} if number is None else {"frame_number": number})
    assert placed(study, part(dicom_image=named), numbered(1)) == {(uid("series", "loop"), frame): 0}


def test_a_mask_of_as_many_planes_as_the_named_image_has_frames_covers_them_all() -> None:
    study = received(image(name="loop", frames=3))
    named = part(3, dicom_image={"SOPInstanceUID": uid("series", "loop")})
    assert placed(study, named, numbered(3)) == {(uid("series", "loop"), frame): frame for frame in range(3)}


def test_two_files_of_one_uid_are_two_images() -> None:
    """A study with a slice sent twice: each plane stays on its own file."""
    study = received(*(image(name="same", z=float(z), number=z) for z in range(3)))
    (layer,) = layers(study, {"parts": [part(3)]}, [numbered(3)])
    planes = [layer.at((one.source, 0)) for one in study]
    assert [int(plane[0, 0]) for plane in planes if plane is not None] == [0, 1, 2]


@pytest.mark.parametrize("as_sent", [bytes, memoryview, lambda mask: mask.reshape(2, SIZE, SIZE)[..., ::-1]])
def test_a_mask_may_be_any_buffer(as_sent: Any) -> None:
    study = received(*(image(name=str(z), z=float(z)) for z in range(2)))
    assert placed(study, part(2), as_sent(numbered(2))) == {(uid("series", str(z)), 0): z for z in range(2)}


MISFITS: dict[str, tuple[dict[str, Any], str]] = {
    "too many slices": (part(4), "binary_data_shape"),
    "too few slices": (part(2), "binary_data_shape"),
    "another size": (part(3, size=8), "binary_data_shape"),
    "a series that is not there": (part(3, SeriesInstanceUID="1.2.3"), "binary_data_shape"),
    "an image that is not there": (part(dicom_image={"SOPInstanceUID": "1.2.3"}), "dicom_image"),
    "a frame that is not there": (
        part(dicom_image={"SOPInstanceUID": uid("series", "0"), "frame_number": 2}),
        "dicom_image",
    ),
    "an image of another size": (part(size=8, dicom_image={"SOPInstanceUID": uid("series", "0")}), "dicom_image"),
    "several planes for one image": (part(3, dicom_image={"SOPInstanceUID": uid("series", "0")}), "dicom_image"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_mask_that_matches_no_series_is_an_invalid_answer_with_a_pointer(misfit: str) -> None:
    study = received(*(image(name=str(z), z=float(z)) for z in range(3)))
    entry, member = MISFITS[misfit]
    planes = entry["binary_data_shape"].get("depth", 1)
    good = part(3)
    with pytest.raises(AnswerInvalid) as refusal:
        layers(study, {"parts": [good, entry]}, [numbered(3), numbered(planes, entry["binary_data_shape"]["height"])])
    assert refusal.value.pointer == f"/parts/1/{member}"
    assert "fits no" in refusal.value.detail


def test_a_mask_does_not_fit_a_series_whose_images_differ_in_size() -> None:
    study = received(image(name="a", z=0.0), image(name="b", z=1.0, size=(8, 8)))
    with pytest.raises(AnswerInvalid):
        layers(study, {"parts": [part(2)]}, [numbered(2)])


def test_one_name_has_one_colour_and_another_name_another() -> None:
    study = received(image(name="a"))
    named = {"dicom_image": {"SOPInstanceUID": uid("series", "a")}}
    entries = [part(label=label, **named) for label in ("Lesion", "Vessel", "Lesion")]
    labelled = {**part(**named), "binary_type": "numeric_label_mask", "label_map": {"0": "Background", "2": "Vessel"}}
    found = layers(study, {"parts": [*entries, labelled]}, [numbered(1)] * 4)
    assert found[0].tints[1] == found[2].tints[1]
    assert found[0].tints[1] != found[1].tints[1]
    assert found[3].names == {2: "Vessel"}
    assert found[3].tints[2] == found[1].tints[1]


def only(study: Sequence[Instance], answer: dict[str, Any]) -> tuple[str, int, Mark]:
    ((key, (mark,)),) = marks(study, answer).items()
    (one,) = [one for one in study if one.source == key[0]]
    return one.sop_instance_uid, key[1], mark


def measured(*ends: Any, kind: str = "pixel", name: str | None = "a", **more: Any) -> dict[str, Any]:
    line: dict[str, Any] = {"coordinates_type": kind, "start": ends[0], "end": ends[1]} | more
    return {"linear_measurements_2d": [line | ({"SOPInstanceUID": uid("series", name)} if name else {})]}


@given(
    turns=st.tuples(*[st.floats(-180, 180)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    spacing=st.tuples(*[st.floats(0.1, 5)] * 2),
    ends=st.tuples(*[st.floats(0, SIZE)] * 4),
    off=st.floats(-30, 30),
)
@settings(deadline=None, max_examples=examples(60))
def test_world_coordinates_are_projected_onto_their_image_along_its_normal(
    turns: Any, origin: Any, spacing: Any, ends: Any, off: float
) -> None:
    """From pixels to the patient and back, on an oblique image; ``off`` is the distance from its plane."""
    rotation = Rotation.from_euler("xyz", turns, degrees=True).as_matrix()
    orientation = [round(float(cosine), 9) for cosine in rotation.T[:2].ravel()]
    study = received(image(name="a", orientation=orientation, origin=[round(x, 6) for x in origin], spacing=spacing))
    points = to_patient(affine(study), [(off, *ends[:2]), (off, *ends[2:])]).tolist()
    _, _, mark = only(study, measured(*points, kind="world"))
    assert mark.start == pytest.approx([ends[1], ends[0]], abs=1e-4)
    assert mark.end == pytest.approx([ends[3], ends[2]], abs=1e-4)
    length = np.hypot((ends[2] - ends[0]) * spacing[0], (ends[3] - ends[1]) * spacing[1])
    assert float(mark.text.split()[0]) == pytest.approx(length, abs=0.06)


def test_the_length_of_an_oblique_line_is_its_own_and_not_that_of_its_projection() -> None:
    _, _, mark = only(received(image(name="a")), measured([0, 0, 0], [3, 0, 4], kind="world", label="Oblique"))
    assert mark.text == "Oblique 5.0 mm"
    assert mark.end == pytest.approx([3, 0])


def test_world_coordinates_of_x_and_y_lie_where_the_image_has_them() -> None:
    study = received(image(name="a", origin=(-10.0, 20.0, 7.0), z=0.0, spacing=(2.0, 0.5)))
    _, _, mark = only(study, measured([-9, 24], [-8, 28], kind="world"))
    assert mark.start == pytest.approx([2, 2])
    assert mark.end == pytest.approx([4, 4])
    assert mark.text == "4.1 mm"


def test_x_and_y_alone_place_nothing_on_a_sagittal_image() -> None:
    study = received(image(name="a", orientation=(0, 1, 0, 0, 0, -1)))
    with pytest.raises(AnswerInvalid) as refusal:
        marks(study, measured([1, 2], [3, 4], kind="world"))
    assert refusal.value.pointer == "/linear_measurements_2d/0/start"


def test_pixels_are_measured_in_millimetres_where_their_size_is_known() -> None:
    _, _, mark = only(received(image(name="a", spacing=(2.0, 0.5))), measured([0, 0], [4, 0]))
    assert (mark.start.tolist(), mark.end.tolist(), mark.text) == ([0, 0], [4, 0], "2.0 mm")
    _, _, mark = only(received(image(name="a", spacing=None)), measured([0, 0], [3, 4], label="Length"))
    assert mark.text == "Length 5 px"


def test_a_measurement_without_an_image_lies_on_the_nearest_or_the_only_one() -> None:
    study = received(*(image(name=str(z), z=5.0 * z) for z in range(3)))
    assert only(study, measured([1, 1, 6.0], [4, 4, 6.4], kind="world", name=None))[0] == uid("series", "1")
    assert only(study[2:], measured([1, 1], [4, 4], name=None))[0] == uid("series", "2")
    with pytest.raises(AnswerInvalid) as refusal:
        marks(study, measured([1, 1], [4, 4], name=None))
    assert refusal.value.pointer == "/linear_measurements_2d/0/SOPInstanceUID"


@pytest.mark.parametrize(("number", "frame"), [(None, 0), (0, 0), (1, 0), (3, 2)])
def test_a_measurement_lies_on_its_frame(number: int | None, frame: int) -> None:
    more = {} if number is None else {"frame_number": number}
    assert only(received(image(name="a", frames=3)), measured([0, 0], [1, 1], **more))[1] == frame


def test_a_box_lies_on_every_frame_of_its_image() -> None:
    box = {"label": "Box", "SOPInstanceUID": uid("series", "a"), "top_left": [1, 2], "bottom_right": [3, 4]}
    found = marks(received(image(name="a", frames=3), image(name="b")), {"bounding_boxes_2d": [box]})
    assert sorted(frame for _, frame in found) == [0, 1, 2]
    assert {(mark.is_box, mark.text, *mark.start, *mark.end) for found in found.values() for mark in found} == {
        (True, "Box", 1, 2, 3, 4)
    }


LOST: dict[str, tuple[dict[str, Any], str]] = {
    "a box": (
        {"bounding_boxes_2d": [{"label": "", "SOPInstanceUID": "1.2", "top_left": [0, 0], "bottom_right": [1, 1]}]},
        "/bounding_boxes_2d/0/SOPInstanceUID",
    ),
    "a measurement": (measured([0, 0], [1, 1], name="nowhere"), "/linear_measurements_2d/0/SOPInstanceUID"),
    "a frame": (measured([0, 0], [1, 1], name="loop", frame_number=3), "/linear_measurements_2d/0/frame_number"),
    "a place": (measured([0, 0, 0], [1, 1, 1], kind="world"), "/linear_measurements_2d/0/coordinates_type"),
}


@pytest.mark.parametrize("lost", LOST)
def test_a_mark_that_lies_nowhere_is_an_invalid_answer_with_a_pointer_to_it(lost: str) -> None:
    answer, pointer = LOST[lost]
    with pytest.raises(AnswerInvalid) as refusal:
        marks(received(image(name="a", z=None), image(name="loop", frames=2)), answer)
    assert refusal.value.pointer == pointer


def test_an_answer_without_any_findings_has_no_layers_and_no_marks() -> None:
    study = received(image(name="a"))
    assert layers(study, {}, []) == []
    assert marks(study, {}) == {}
