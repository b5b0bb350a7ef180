"""Findings as an answer of protocol 1.0: each kind has its members, and the protocol's own checks accept it."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import (
    BoundingBox,
    Classification,
    Conformance,
    Heatmap,
    Label,
    LabelMask,
    LinearMeasurement,
    Mask,
    ProbabilityMask,
    SecondaryCapture,
    StructuredReport,
)
from gateway.errors import AnswerInvalid
from gateway.protocol.answers import answer, dicom_answer
from gateway.protocol.response import check
from gateway.protocol.serializer import InferenceSerializer


@dataclass(frozen=True)
class Instance:
    sop_instance_uid: str
    frames: int = 1


@dataclass(frozen=True)
class Volume:
    frames: tuple[tuple[Instance, int], ...]
    series_instance_uid: str = "1.2.3"


@dataclass(frozen=True)
class Image:
    instance: Instance
    frame: int = 0
    series_instance_uid: str = "1.2.3"


VOLUME = Volume(tuple((Instance(f"1.2.3.{index}"), 0) for index in range(2)))
ENHANCED = Volume(tuple((Instance("1.2.4", frames=2), frame) for frame in range(2)))
IMAGE = Image(Instance("1.2.3.7"))
ARRAY = np.zeros((2, 3, 4), bool)
FLAT = np.zeros((3, 4), bool)
HEAT = ((0.0, (0, 0, 0, 0)), (1.0, (255, 0, 0, 255)))
FILE = bytes(128) + b"DICM" + bytes(8)


def sent(*findings: Any) -> tuple[dict[str, Any], list[bytes]]:
    """The answer as it leaves, past every check of the protocol."""
    said, buffers = answer(findings)
    checked, parts = check(said, buffers, serializer=InferenceSerializer(), strict=True, warn=pytest.fail)
    return json.loads(checked), [bytes(part.data) for part in parts]


def test_a_mask_of_a_volume_names_its_shape_and_series() -> None:
    array = ARRAY.copy()
    array[1, 2, 3] = True
    said, parts = sent(Mask(array, "Lung", of=VOLUME))
    shape = {"timepoints": 1, "depth": 2, "height": 3, "width": 4}
    entry = {"label": "Lung", "binary_type": "boolean_mask", "binary_data_shape": shape, "SeriesInstanceUID": "1.2.3"}
    assert said == {"protocol_version": "1.0", "parts": [entry]}
    assert parts == [bytes(23) + b"\x01"]


def test_a_mask_of_an_image_names_the_image() -> None:
    said, _ = sent(Mask(FLAT, of=IMAGE))
    entry = said["parts"][0]
    assert entry["binary_data_shape"] == {"height": 3, "width": 4}
    assert entry["dicom_image"] == {"SOPInstanceUID": "1.2.3.7"}
    assert "SeriesInstanceUID" not in entry


def test_a_mask_of_one_frame_of_several_numbers_it_from_one_as_dicom_does() -> None:
    said, _ = sent(Mask(FLAT, of=Image(Instance("1.2.4", frames=2), frame=1)))
    assert said["parts"][0]["dicom_image"] == {"SOPInstanceUID": "1.2.4", "frame_number": 2}


def test_an_empty_mask_is_an_answer() -> None:
    said, parts = sent(Mask(ARRAY, "Nodule", of=VOLUME))
    assert said["parts"][0]["label"] == "Nodule"
    assert parts == [bytes(24)]


@pytest.mark.parametrize("kind", [ProbabilityMask, Heatmap])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_of_0_to_1_leave_as_0_to_255(kind: Any, dtype: Any) -> None:
    _, parts = sent(kind(np.array([[0, 0.5, 1]], dtype), of=IMAGE))
    assert list(parts[0]) == [0, 128, 255]


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20))
def test_a_probability_is_restored_within_half_a_step(values: list[float]) -> None:
    _, parts = sent(ProbabilityMask(np.array([values], np.float32), of=IMAGE))
    assert np.allclose(np.frombuffer(parts[0], np.uint8) / 255, values, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, np.inf])
def test_a_probability_beyond_0_to_1_is_refused_with_the_place_of_its_part(value: float) -> None:
    with pytest.raises(AnswerInvalid, match="floats of 0 to 1, or uint8") as caught:
        answer([Mask(FLAT, of=IMAGE), ProbabilityMask(np.array([[value]]), of=IMAGE)])
    assert caught.value.pointer == "/parts/1"


def test_a_probability_mask_carries_its_threshold() -> None:
    said, _ = sent(ProbabilityMask(ARRAY.astype(np.float32), of=VOLUME, threshold=0.25))
    assert said["parts"][0]["probability_threshold"] == 0.25


def test_a_label_mask_of_any_integers_leaves_as_uint8_with_its_names() -> None:
    said, parts = sent(LabelMask(np.array([[0, 1, 200]], np.int64), {1: "Liver", 200: Label("Spleen")}, of=IMAGE))
    assert said["parts"][0]["label_map"] == {"1": "Liver", "200": "Spleen"}
    assert said["parts"][0]["binary_type"] == "numeric_label_mask"
    assert list(parts[0]) == [0, 1, 200]


def test_heatmaps_with_one_palette_share_it() -> None:
    other = ((0.0, (0, 0, 0, 0)), (1.0, (0, 255, 0, 255)))
    heat = FLAT.astype(np.float32)
    said, _ = sent(*(Heatmap(heat, of=IMAGE, palette=palette) for palette in (HEAT, HEAT, other, None)))
    named = [entry.get("palette") for entry in said["parts"]]
    assert named[0] == named[1] != named[2]
    assert named[3] is None
    assert len(said["palettes"]) == 2
    assert said["palettes"][named[0]]["data"][1] == {"threshold": 1.0, "color": [255, 0, 0, 255]}


def test_a_box_on_a_volume_lies_on_the_image_of_its_slice() -> None:
    said, _ = sent(BoundingBox("Nodule", (1, 2), (3, 4.5), slice=1, of=VOLUME))
    box = {"label": "Nodule", "SOPInstanceUID": "1.2.3.1", "top_left": [1, 2], "bottom_right": [3, 4.5]}
    assert said["bounding_boxes_2d"] == [box]
    assert said["parts"] == []


def test_a_box_on_a_frame_names_the_frame() -> None:
    said, _ = sent(BoundingBox("Nodule", (1, 2), (3, 4), slice=1, of=ENHANCED))
    assert said["bounding_boxes_2d"][0]["SOPInstanceUID"] == "1.2.4"
    assert said["bounding_boxes_2d"][0]["frame_number"] == 2


@pytest.mark.parametrize("index", [None, -1, 2])
def test_a_box_on_a_volume_without_a_slice_of_it_is_refused(index: int | None) -> None:
    box = BoundingBox("Nodule", (1, 2), (3, 4), of=IMAGE)
    with pytest.raises(AnswerInvalid, match="slice=0 to 1") as caught:
        answer([box, BoundingBox("Nodule", (1, 2), (3, 4), slice=index, of=VOLUME)])
    assert caught.value.pointer == "/bounding_boxes_2d/1"


def test_a_measurement_in_pixels_lies_on_its_image() -> None:
    said, _ = sent(LinearMeasurement("Width", (0, 1), (3, 1), of=IMAGE))
    line = {"label": "Width", "SOPInstanceUID": "1.2.3.7", "coordinates_type": "pixel", "start": [0, 1], "end": [3, 1]}
    assert said["linear_measurements_2d"] == [line]


@pytest.mark.parametrize(("of", "slice_", "uid"), [(None, None, None), (VOLUME, None, None), (VOLUME, 0, "1.2.3.0")])
def test_a_measurement_in_the_patient_needs_no_image(of: Any, slice_: int | None, uid: str | None) -> None:
    said, _ = sent(LinearMeasurement("Length", (0, 1, 2), (3, 1, 2), slice=slice_, of=of))
    line = said["linear_measurements_2d"][0]
    assert line["coordinates_type"] == "world"
    assert line.get("SOPInstanceUID") == uid


def test_classifications_are_of_the_study_or_of_a_series() -> None:
    said, _ = sent(
        Classification({"finding": "none"}),
        Classification({"score": np.float32(0.5)}),
        Classification({"phase": "arterial"}, of=VOLUME),
    )
    assert said["study_ml_json"] == {"finding": "none", "score": 0.5}
    assert said["series_ml_json"] == {"1.2.3": {"phase": "arterial"}}


def test_a_label_that_a_study_has_twice_is_refused() -> None:
    with pytest.raises(AnswerInvalid) as caught:
        answer([Classification({"finding": "none"}), Classification({"finding": "nodule"})])
    assert caught.value.pointer == "/study_ml_json/finding"


def test_finished_dicom_objects_travel_as_parts() -> None:
    said, parts = sent(SecondaryCapture(FILE, "Outline"), StructuredReport(FILE))
    assert [entry["binary_type"] for entry in said["parts"]] == ["dicom_secondary_capture", "dicom_structured_report"]
    assert said["parts"][0]["label"] == "Outline"
    assert parts == [FILE, FILE]


def test_conformance_travels_in_each_part() -> None:
    said, _ = sent(Mask(FLAT, of=IMAGE), Conformance("thin slices", False), Mask(FLAT, of=IMAGE))
    for entry in said["parts"]:
        assert entry["dicomConformance"] == {"recommended": [{"description": "thin slices", "compliant": False}]}


def test_conformance_without_a_part_stands_beside_the_rest() -> None:
    said, _ = sent(Conformance("thin slices", np.bool_(True)))
    assert said["dicomConformance"] == {"recommended": [{"description": "thin slices", "compliant": True}]}


def test_nothing_found_is_an_answer() -> None:
    assert sent() == ({"protocol_version": "1.0", "parts": []}, [])


@pytest.mark.parametrize(
    ("uid", "binary_type"),
    [
        ("1.2.840.10008.5.1.4.1.1.66.4", "dicom"),
        ("1.2.840.10008.5.1.4.1.1.7.4", "dicom_secondary_capture"),
        ("1.2.840.10008.5.1.4.1.1.77.1.1", "dicom"),
        ("1.2.840.10008.5.1.4.1.1.88.33", "dicom_structured_report"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "dicom_gsps"),
    ],
)
def test_a_dicom_object_is_named_by_its_sop_class(uid: str, binary_type: str) -> None:
    said, _ = dicom_answer([{"SOPClassUID": uid, "SeriesDescription": "RESEARCH: Lung"}], [Conformance("thin", True)])
    conformance = {"recommended": [{"description": "thin", "compliant": True}]}
    assert said["parts"] == [{"label": "RESEARCH: Lung", "binary_type": binary_type, "dicomConformance": conformance}]
