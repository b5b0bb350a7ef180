"""Answers of models, good and broken: the bytes that leave, or the pointer and the sentence of the fault."""

import copy
import io
import json
import math
from typing import Any

import numpy
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contract.requests import ModelAnswer
from gateway.errors import AnswerInvalid, ModelFailed
from gateway.protocol import response
from gateway.protocol.kinds import KINDS
from gateway.protocol.response import check
from gateway.protocol.serializer import InferenceSerializer

MASK = numpy.arange(24, dtype=numpy.uint8).reshape(2, 3, 4)
SHAPE = {"timepoints": 1, "depth": 2, "height": 3, "width": 4}
FILE = bytes(128) + b"DICM" + bytes(8)
LABELS = {"1": "liver", "2": "spleen", "23": "kidney"}
ENTRY = {"label": "organ", "binary_type": "probability_mask", "binary_data_shape": SHAPE}
BOX = {"label": "nodule", "SOPInstanceUID": "1.2.3", "top_left": [5, 5.5], "bottom_right": [10, 10]}
LINE = {"SOPInstanceUID": "1.2.3", "label": "d", "coordinates_type": "pixel", "start": [1, 2], "end": [3.5, 4]}
ANCHORS = [{"threshold": 0.0, "color": [0, 0, 0, 0]}, {"threshold": 1.0, "color": [255, 0, 0, 255]}]
NAN = float("nan")


def refuse_to_warn(sentence):
    raise AssertionError(f"a strict check warned: {sentence}")


def strictly(answer, buffers, serializer=None):
    return check(answer, buffers, serializer=serializer or InferenceSerializer(), strict=True, warn=refuse_to_warn)


def leniently(answer, buffers):
    sentences: list[str] = []
    sent = check(answer, buffers, serializer=InferenceSerializer(), strict=False, warn=sentences.append)
    return *sent, sentences


def entry(**changes):
    """The entry of a valid mask, changed; None removes a member."""
    changed = {**ENTRY, **changes}
    return {name: value for name, value in changed.items() if value is not None}


def mask(**changes):
    return {"parts": [entry(**changes)]}


def labelled(label_map, **changes):
    return mask(binary_type="numeric_label_mask", label_map=label_map, **changes)


def box(**changes):
    return {
        "bounding_boxes_2d": [BOX, {name: value for name, value in {**BOX, **changes}.items() if value is not None}]
    }


def line(**changes):
    return {
        "linear_measurements_2d": [{name: value for name, value in {**LINE, **changes}.items() if value is not None}]
    }


def palette(data, kind="anchorpoints"):
    return {"palettes": {"fire": {"type": kind, "data": data}}}


def anchors(*thresholds, color=(0, 0, 0, 255)):
    return palette([{"threshold": threshold, "color": list(color)} for threshold in thresholds])


def conformance(value):
    return {"parts": [{"binary_type": "dicom", "dicomConformance": value}]}


def content(buffer):
    return buffer.getvalue() if isinstance(buffer, io.BytesIO) else numpy.asarray(memoryview(buffer)).tobytes()


GOOD = {
    "an empty answer": ({}, []),
    "an answer with empty parts": ({"protocol_version": "1.0", "parts": []}, []),
    "a probability mask": (mask(), [MASK]),
    "a boolean mask of bool": (mask(binary_type="boolean_mask"), [MASK > 3]),
    "a heatmap with a palette": ({**mask(binary_type="heatmap", palette="fire"), **palette(ANCHORS)}, [MASK]),
    "a heatmap with a lookup table": (palette([7] * 1024, "lut"), []),
    "a label mask": (labelled(LABELS), [MASK]),
    "a label mask that reaches its largest key": (labelled({"07": "a", "23": "b"}), [MASK]),
    "a label mask of nothing": (labelled({}), [MASK * 0]),
    "a DICOM file": ({"parts": [{"binary_type": "dicom"}]}, [FILE]),
    "a secondary capture": ({"parts": [{"binary_type": "dicom_secondary_capture"}]}, [io.BytesIO(FILE)]),
    "a structured report": ({"parts": [{"binary_type": "dicom_structured_report"}]}, [bytearray(FILE)]),
    "a presentation state": ({"parts": [{"binary_type": "dicom_gsps"}]}, [numpy.frombuffer(FILE, numpy.uint8)]),
    "a mask of one image": (
        mask(binary_data_shape={"height": 4, "width": 6}, dicom_image={"SOPInstanceUID": "1.2", "frame_number": 1}),
        [MASK],
    ),
    "a mask of a stack without time points": (mask(binary_data_shape={"depth": 2, "height": 3, "width": 4}), [MASK]),
    "a mask as a flat array": (mask(), [MASK.ravel()]),
    "a mask as bytes": (mask(), [MASK.tobytes()]),
    "a mask as an open file": (mask(), [io.BytesIO(MASK.tobytes())]),
    "a mask as a column-major array": (mask(), [numpy.asfortranarray(MASK)]),
    "a mask in a tuple": (mask(), (MASK,)),
    "two masks in a stack": ({"parts": [entry(), entry()]}, numpy.stack([MASK, MASK])),
    "a threshold of none": (mask(probability_threshold=0), [MASK]),
    "a threshold of all": (mask(probability_threshold=1.0), [MASK]),
    "a series": (mask(SeriesInstanceUID="1.2.840"), [MASK]),
    "conformance": (
        {
            "parts": [
                {
                    "binary_type": "dicom",
                    "dicomConformance": {"recommended": [{"description": "UIDs", "compliant": False}]},
                }
            ]
        },
        [FILE],
    ),
    "boxes": ({"bounding_boxes_2d": [BOX]}, []),
    "a line in pixels": (line(), []),
    "a line in the world": (line(coordinates_type="world", start=[1, 2, 3.5], end=[4, 5, 6]), []),
    "a line in the world by two numbers": (line(coordinates_type="world"), []),
    "a line on frame 0": (line(frame_number=0), []),
    "a line on frame 1": (line(frame_number=1), []),
    "a line without a label": (line(label=None), []),
    "words on the study": ({"study_ml_json": {"score": [1, {"x": None}]}}, []),
    "words on the series": ({"series_ml_json": {"1.2.3": {"score": "0.9"}}}, []),
    "members that the protocol does not name": (mask(colour="red") | {"vendor": {"version": 3}}, [MASK]),
    "a step in a palette": (anchors(0.0, 0.5, 0.5, 1.0), []),
    "whole numbers as thresholds": (anchors(0, 1), []),
}


@pytest.mark.parametrize(("answer", "buffers"), GOOD.values(), ids=GOOD)
def test_a_good_answer_leaves_as_the_model_gave_it(answer, buffers):
    given = copy.deepcopy(answer)
    json_bytes, parts = strictly(answer, buffers)
    assert json_bytes == json.dumps(given if "parts" in given else {**given, "parts": []}).encode()
    assert answer == given
    assert [bytes(part.data) for part in parts] == [content(buffer) for buffer in buffers]


def test_each_of_the_eight_kinds_has_a_good_answer_here():
    shown = {item["binary_type"] for answer, _ in GOOD.values() for item in answer.get("parts", [])}
    assert shown == set(KINDS)
    assert len(KINDS) == 8


def test_the_order_of_the_members_is_the_models():
    assert strictly({"b": 1, "parts": [], "a": 2}, [])[0] == b'{"b": 1, "parts": [], "a": 2}'


BAD = {
    # the two things that a handler returns
    "a list for the dict": ([], [], "", "should be a dict, not list"),
    "nothing for the dict": (None, [], "", "should be a dict, not NoneType"),
    "nothing for the buffers": ({}, None, "", "should be a list of buffers, not NoneType"),
    "one mask for the buffers": (mask(), MASK.ravel(), "", "should be a list of buffers, not ndarray"),
    "bytes for the buffers": (mask(), b"mask", "", "should be a list of buffers, not bytes"),
    "a dict for the buffers": (mask(), {"a": MASK}, "", "should be a list of buffers, not dict"),
    # parts
    "parts that are no list": ({"parts": {}}, [], "/parts", "should be a list"),
    "parts of null": ({"parts": None}, [], "/parts", "should be a list"),
    "a buffer too few": ({"parts": [entry(), entry()]}, [MASK], "/parts", "2 entries, but the handler returned 1 buf"),
    "a buffer too many": (mask(), [MASK, MASK], "/parts", "1 entries, but the handler returned 2 buf"),
    "a buffer without parts": ({}, [MASK], "/parts", "0 entries, but the handler returned 1 buf"),
    "an entry that is no object": ({"parts": ["mask"]}, [MASK], "/parts/0", "should be an object"),
    "no binary_type": (mask(binary_type=None), [MASK], "/parts/0/binary_type", "is missing"),
    "an unknown binary_type": (mask(binary_type="hologram"), [MASK], "/parts/0/binary_type", "heatmap, boolean_mask"),
    "a binary_type that is no text": (mask(binary_type=3), [MASK], "/parts/0/binary_type", "should be text"),
    "a mask without a shape": (
        mask(binary_data_shape=None),
        [MASK],
        "/parts/0/binary_data_shape",
        "needs binary_data_s",
    ),
    "a label mask without labels": (labelled(None), [MASK], "/parts/0/label_map", "needs label_map"),
    # dtype
    "a float mask": (
        mask(),
        [MASK / 255],
        "/parts/0",
        "float64; it should be uint8 or bool. Convert it: (p * 255).rou",
    ),
    "a float16 heatmap": (mask(binary_type="heatmap"), [MASK.astype("f2")], "/parts/0", "float16"),
    "a float boolean mask": (mask(binary_type="boolean_mask"), [MASK.astype("f4")], "/parts/0", "p >= 0.5"),
    "a float label mask": (labelled(LABELS), [MASK.astype("f4")], "/parts/0", "labels.astype(numpy.uint8)"),
    "an int64 mask": (mask(), [MASK.astype("i8")], "/parts/0", "clip"),
    "a uint16 mask": (mask(), [MASK.astype("u2")], "/parts/0", "uint16"),
    "an int8 mask": (mask(), [MASK.astype("i1")], "/parts/0", "int8"),
    "a complex mask": (mask(), [MASK.astype("c8")], "/parts/0", "array of numpy.uint8"),
    "a float mask in a memoryview": (mask(), [memoryview(MASK / 255)], "/parts/0", "float64"),
    "a mask of objects": (mask(), [MASK.astype(object)], "/parts/0", "Python objects"),
    "a masked array": (mask(), [numpy.ma.masked_equal(MASK, 3)], "/parts/0", ".filled(0)"),
    "a mask that is no buffer": (mask(), [None], "/parts/0", "NoneType is no buffer"),
    # shape
    "a mask too short": (
        mask(),
        [MASK[:1]],
        "/parts/0/binary_data_shape",
        "12 bytes, but its shape is 1 x 2 x 3 x 4 = 24",
    ),
    "a mask too long": (
        mask(binary_data_shape={"height": 2, "width": 2}),
        [MASK],
        "/parts/0/binary_data_shape",
        "24 bytes, but its shape is 1 x 1 x 2 x 2 = 4",
    ),
    "an empty mask": (mask(), [b""], "/parts/0/binary_data_shape", "0 bytes"),
    "a shape whose product leaves 64 bits": (
        mask(binary_data_shape={"height": 2**40, "width": 2**40 + 1}),
        [MASK],
        "/parts/0/binary_data_shape",
        str(2**40 * (2**40 + 1)),
    ),
    "a shape without a height": (
        mask(binary_data_shape={"width": 4}),
        [MASK],
        "/parts/0/binary_data_shape/height",
        "height is missing",
    ),
    "a shape without a width": (
        mask(binary_data_shape={"height": 4}),
        [MASK],
        "/parts/0/binary_data_shape/width",
        "width is missing",
    ),
    "a depth of zero": (
        mask(binary_data_shape=SHAPE | {"depth": 0}),
        [MASK],
        "/parts/0/binary_data_shape/depth",
        "depth should be greater than 0",
    ),
    "a negative height": (
        mask(binary_data_shape=SHAPE | {"height": -3}),
        [MASK],
        "/parts/0/binary_data_shape/height",
        "greater than 0",
    ),
    "a width that is no whole number": (
        mask(binary_data_shape=SHAPE | {"width": 4.0}),
        [MASK],
        "/parts/0/binary_data_shape/width",
        "whole number",
    ),
    "a width of true": (
        mask(binary_data_shape=SHAPE | {"width": True}),
        [MASK],
        "/parts/0/binary_data_shape/width",
        "whole number",
    ),
    "time points of null": (
        mask(binary_data_shape=SHAPE | {"timepoints": None}),
        [MASK],
        "/parts/0/binary_data_shape/timepoints",
        "whole number",
    ),
    "a shape as a list": (mask(binary_data_shape=[2, 3, 4]), [MASK], "/parts/0/binary_data_shape", "an object"),
    # label_map
    "labels as a list": (labelled(["liver"]), [MASK], "/parts/0/label_map", "an object"),
    "a label key that is no digits": (labelled({"one": "liver"}), [MASK], "/parts/0/label_map", "digits"),
    "a negative label key": (labelled({"-1": "liver"}), [MASK], "/parts/0/label_map", "digits"),
    "an empty label key": (labelled({"": "liver"}), [MASK], "/parts/0/label_map", "digits"),
    "a label key in other digits": (labelled({"²³": "liver"}), [MASK], "/parts/0/label_map", "digits"),
    "a label key of a million digits": (labelled({"9" * 10**6: "liver"}), [MASK], "/parts/0/label_map", "digits"),
    "two label keys of one number": (labelled({"1": "a", "01": "b"}), [MASK], "/parts/0/label_map", "same number"),
    "labels that repeat": (labelled({"1": "a", "23": "a"}), [MASK], "/parts/0/label_map", "unique"),
    "a label that is no text": (
        labelled({"1": 7}),
        [MASK],
        "/parts/0/label_map/1",
        "An item of label_map should be text",
    ),
    "a value above the labels": (
        labelled({"1": "a", "22": "b"}),
        [MASK],
        "/parts/0",
        "the value 23, but the largest key of its label_map is 22",
    ),
    "a value without any label": (labelled({}), [MASK], "/parts/0", "largest key of its label_map is 0"),
    # the rest of an entry
    "a palette that does not exist": (mask(palette="ice") | palette(ANCHORS), [MASK], "/parts/0/palette", "not among"),
    "a palette without palettes": (mask(palette="ice"), [MASK], "/parts/0/palette", "not among"),
    "a palette that is no text": (mask(palette=["ice"]), [MASK], "/parts/0/palette", "should be text"),
    "a threshold above one": (mask(probability_threshold=1.5), [MASK], "/parts/0/probability_threshold", "at most 1"),
    "a negative threshold": (mask(probability_threshold=-0.1), [MASK], "/parts/0/probability_threshold", "at least 0"),
    "a threshold as text": (mask(probability_threshold="0.5"), [MASK], "/parts/0/probability_threshold", "a number"),
    "a threshold of true": (mask(probability_threshold=True), [MASK], "/parts/0/probability_threshold", "a number"),
    "an image as text": (mask(dicom_image="1.2.3"), [MASK], "/parts/0/dicom_image", "an object"),
    "an image without a UID": (mask(dicom_image={}), [MASK], "/parts/0/dicom_image/SOPInstanceUID", "is missing"),
    "an image with an empty UID": (
        mask(dicom_image={"SOPInstanceUID": ""}),
        [MASK],
        "/parts/0/dicom_image/SOPInstanceUID",
        "should not be empty",
    ),
    "an image's negative frame": (
        mask(dicom_image={"SOPInstanceUID": "1", "frame_number": -1}),
        [MASK],
        "/parts/0/dicom_image/frame_number",
        "at least 0",
    ),
    "a series that is no text": (mask(SeriesInstanceUID=1.2), [MASK], "/parts/0/SeriesInstanceUID", "should be text"),
    "conformance as a list": (conformance([]), [FILE], "/parts/0/dicomConformance", "an object"),
    "conformance without recommended": (conformance({}), [FILE], "/parts/0/dicomConformance/recommended", "is missing"),
    "recommended as an object": (
        conformance({"recommended": {}}),
        [FILE],
        "/parts/0/dicomConformance/recommended",
        "a list",
    ),
    "a recommendation without a description": (
        conformance({"recommended": [{"compliant": True}]}),
        [FILE],
        "/parts/0/dicomConformance/recommended/0/description",
        "is missing",
    ),
    "a recommendation half compliant": (
        conformance({"recommended": [{"description": "a", "compliant": "yes"}]}),
        [FILE],
        "/parts/0/dicomConformance/recommended/0/compliant",
        "true or false",
    ),
    # DICOM
    "a DICOM part without a preamble": ({"parts": [{"binary_type": "dicom"}]}, [FILE[128:]], "/parts/0", "DICM is not"),
    "an empty DICOM part": ({"parts": [{"binary_type": "dicom_gsps"}]}, [b""], "/parts/0", "DICM is not at byte 128"),
    "a Dataset without UIDs": ({"parts": [{"binary_type": "dicom"}]}, [pydicom.Dataset()], "/parts/0", "SOPClassUID"),
    "a fault in the second part": (
        {"parts": [entry(), {"binary_type": "dicom_structured_report"}]},
        [MASK, b"SR"],
        "/parts/1",
        "DICM",
    ),
    # boxes
    "boxes as an object": ({"bounding_boxes_2d": {}}, [], "/bounding_boxes_2d", "a list"),
    "boxes of null": ({"bounding_boxes_2d": None}, [], "/bounding_boxes_2d", "a list"),
    "a box as a list": (
        {"bounding_boxes_2d": [[]]},
        [],
        "/bounding_boxes_2d/0",
        "An item of bounding_boxes_2d should be",
    ),
    "a box without a label": (box(label=None), [], "/bounding_boxes_2d/1/label", "is missing"),
    "a box without an image": (box(SOPInstanceUID=None), [], "/bounding_boxes_2d/1/SOPInstanceUID", "is missing"),
    "a box without a corner": (box(top_left=None), [], "/bounding_boxes_2d/1/top_left", "is missing"),
    "a box without another corner": (box(bottom_right=None), [], "/bounding_boxes_2d/1/bottom_right", "is missing"),
    "a box with a number for a label": (box(label=3), [], "/bounding_boxes_2d/1/label", "should be text"),
    "a corner of one number": (
        box(top_left=[1]),
        [],
        "/bounding_boxes_2d/1/top_left",
        "two numbers, column and row, not 1",
    ),
    "a corner of three": (box(bottom_right=[1, 2, 3]), [], "/bounding_boxes_2d/1/bottom_right", "not 3"),
    "a corner of text": (
        box(top_left=["1", 2]),
        [],
        "/bounding_boxes_2d/1/top_left/0",
        "An item of top_left should be a n",
    ),
    "a corner as an object": (box(top_left={"x": 1}), [], "/bounding_boxes_2d/1/top_left", "a list"),
    # measurements
    "measurements as an object": ({"linear_measurements_2d": {}}, [], "/linear_measurements_2d", "a list"),
    "a measurement as text": ({"linear_measurements_2d": ["3"]}, [], "/linear_measurements_2d/0", "an object"),
    "no coordinates_type": (
        line(coordinates_type=None),
        [],
        "/linear_measurements_2d/0/coordinates_type",
        "coordinates_type is missing",
    ),
    "an unknown coordinates_type": (
        line(coordinates_type="voxel"),
        [],
        "/linear_measurements_2d/0/coordinates_type",
        "one of pixel, world",
    ),
    "a pixel of three numbers": (line(start=[1, 2, 3]), [], "/linear_measurements_2d/0/start", "column and row, not 3"),
    "a place of four numbers": (
        line(coordinates_type="world", end=[1, 2, 3, 4]),
        [],
        "/linear_measurements_2d/0/end",
        "three numbers, x, y and z (two are accepted), not 4",
    ),
    "a place of one number": (
        line(coordinates_type="world", end=[1]),
        [],
        "/linear_measurements_2d/0/end",
        "not 1",
    ),
    "a line without a start": (line(start=None), [], "/linear_measurements_2d/0/start", "start is missing"),
    "a line without an end": (line(end=None), [], "/linear_measurements_2d/0/end", "end is missing"),
    "a line on a negative frame": (line(frame_number=-1), [], "/linear_measurements_2d/0/frame_number", "at least 0"),
    "a line on half a frame": (line(frame_number=1.5), [], "/linear_measurements_2d/0/frame_number", "whole number"),
    "a line on an image of number": (line(SOPInstanceUID=1), [], "/linear_measurements_2d/0/SOPInstanceUID", "text"),
    # free words
    "words on the study as a list": ({"study_ml_json": []}, [], "/study_ml_json", "an object"),
    "words on the study of null": ({"study_ml_json": None}, [], "/study_ml_json", "an object"),
    "words on the series as text": ({"series_ml_json": "a"}, [], "/series_ml_json", "an object"),
    # palettes
    "palettes as a list": ({"palettes": []}, [], "/palettes", "an object"),
    "a palette as a list": (
        {"palettes": {"fire": []}},
        [],
        "/palettes/fire",
        "An item of palettes should be an object",
    ),
    "a palette without a type": (
        {"palettes": {"fire": {"data": ANCHORS}}},
        [],
        "/palettes/fire/type",
        "type is missing",
    ),
    "a palette of another type": (palette([], "spline"), [], "/palettes/fire/type", "one of anchorpoints, lut"),
    "a palette without data": (
        {"palettes": {"fire": {"type": "anchorpoints"}}},
        [],
        "/palettes/fire/data",
        "is missing",
    ),
    "one anchor": (anchors(0.0), [], "/palettes/fire/data", "at least 2 items"),
    "anchors that begin late": (
        anchors(0.1, 1.0),
        [],
        "/palettes/fire/data/0/threshold",
        "first threshold should be 0.0",
    ),
    "anchors that end early": (
        anchors(0.0, 0.9),
        [],
        "/palettes/fire/data/1/threshold",
        "last threshold should be 1.0",
    ),
    "anchors that fall": (anchors(0.0, 0.7, 0.3, 1.0), [], "/palettes/fire/data/2/threshold", "increase"),
    "an anchor beyond one": (anchors(0.0, 1.1), [], "/palettes/fire/data/1/threshold", "at most 1"),
    "an anchor without a colour": (
        palette([{"threshold": 0.0}, ANCHORS[1]]),
        [],
        "/palettes/fire/data/0/color",
        "missing",
    ),
    "a colour without alpha": (anchors(0.0, 1.0, color=(0, 0, 0)), [], "/palettes/fire/data/0/color", "at least 4"),
    "a colour of five": (anchors(0.0, 1.0, color=(0,) * 5), [], "/palettes/fire/data/0/color", "at most 4"),
    "a colour above 255": (anchors(0.0, 1.0, color=(0, 256, 0, 0)), [], "/palettes/fire/data/0/color/1", "at most 255"),
    "a colour below 0": (anchors(0.0, 1.0, color=(0, 0, -1, 0)), [], "/palettes/fire/data/0/color/2", "at least 0"),
    "a colour in fractions": (anchors(0.0, 1.0, color=(0.5, 0, 0, 0)), [], "/palettes/fire/data/0/color/0", "whole"),
    "a short lookup table": (palette([0] * 1023, "lut"), [], "/palettes/fire/data", "at least 1024"),
    "a lookup table above 255": (palette([0] * 1023 + [256], "lut"), [], "/palettes/fire/data/1023", "at most 255"),
    "a name that a pointer escapes": ({"palettes": {"a/b~c": 3}}, [], "/palettes/a~1b~0c", "An item of palettes"),
    # what JSON cannot hold
    "NaN": ({"study_ml_json": {"scores": [0, NAN]}}, [], "/study_ml_json/scores/1", "no NaN"),
    "infinity": ({"study_ml_json": {"score": -math.inf}}, [], "/study_ml_json/score", "no NaN and no infinity"),
    "a numpy NaN": ({"score": numpy.float32("nan")}, [], "/score", "no NaN"),
    "a NaN as a corner": (box(top_left=[1, NAN]), [], "/bounding_boxes_2d/1/top_left/1", "no NaN"),
    "NaN as a name": ({"study_ml_json": {NAN: 1}}, [], "/study_ml_json", "no NaN"),
    "an array": ({"study_ml_json": {"map": MASK}}, [], "/study_ml_json/map", ".tolist()"),
    "bytes": ({"study_ml_json": {"a/b": [b"x"]}}, [], "/study_ml_json/a~1b/0", "bytes cannot be written as JSON"),
    "a set": ({"study_ml_json": {1, 2}}, [], "/study_ml_json", "set cannot be written as JSON"),
    "a complex number": ({"z": numpy.complex64(1j)}, [], "/z", "complex cannot be written as JSON"),
    "a long double": ({"z": numpy.longdouble(1)}, [], "/z", "use float()"),
    "a date": ({"z": numpy.datetime64("2026-01-01")}, [], "/z", "date cannot be written as JSON"),
    "a name that is no text": ({"study_ml_json": {(1, 2): 3}}, [], "/study_ml_json", "should be text"),
    "half a surrogate pair": ({"study_ml_json": {"a": "\ud83d"}}, [], "/study_ml_json/a", "surrogate"),
    "half a surrogate pair in a name": ({"study_ml_json": {"\ud83d": 1}}, [], "/study_ml_json", "surrogate"),
    "an integer of many digits": ({"a": 10**5000}, [], "", "too many digits"),
}


@pytest.mark.parametrize(("answer", "buffers", "where", "words"), BAD.values(), ids=BAD)
def test_a_broken_answer_is_refused_with_a_pointer_and_a_sentence(answer, buffers, where, words):
    with pytest.raises(AnswerInvalid) as caught:
        strictly(answer, buffers)
    assert caught.value.pointer == where
    assert words in caught.value.detail
    assert caught.value.detail.endswith(".")
    assert caught.value.problem()["pointer"] == where
    assert caught.value.status == 500


def test_an_answer_that_contains_itself_is_refused():
    answer: dict[str, Any] = {"study_ml_json": {}}
    answer["study_ml_json"]["again"] = answer
    with pytest.raises(AnswerInvalid, match="contains itself"):
        strictly(answer, [])


def test_an_answer_nested_too_deep_is_refused():
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(AnswerInvalid, match="too deep"):
        strictly({"study_ml_json": {"a": deep}}, [])


SECRET = "DOE^JANE"
SECRETS = {
    "a label": box(label=[SECRET]),
    "a UID": mask(dicom_image={"SOPInstanceUID": SECRET, "frame_number": SECRET}),
    "a palette's name": mask(palette=SECRET),
    "a palette": {"parts": [], "palettes": {SECRET: {"type": SECRET}}},
    "a broken palette": {"parts": [], "palettes": {SECRET: {"type": "lut", "data": [SECRET]}}},
    "a label of a mask": labelled({SECRET: SECRET}),
    "a value of a label map": labelled({SECRET: 3}),
    "a kind": mask(binary_type=SECRET),
    "a coordinates_type": line(coordinates_type=SECRET),
    "a place": line(start=SECRET),
    "a free word": {"study_ml_json": {SECRET: {SECRET: NAN}}},
    "a series": {"series_ml_json": {SECRET: b"DOE^JANE"}},
    "a name of its own": {SECRET: NAN},
    "a name like an index": {"series_ml_json": {"12345678": {"DOE": NAN}}},
}


@pytest.mark.parametrize("answer", SECRETS.values(), ids=SECRETS)
def test_no_sentence_quotes_a_value_or_a_name_that_the_model_chose(answer):
    buffers = [MASK] * len(answer.get("parts", []))
    with pytest.raises(AnswerInvalid) as caught:
        strictly(answer, buffers)
    assert "DOE" not in caught.value.detail


@pytest.mark.parametrize("answer", SECRETS.values(), ids=SECRETS)
def test_no_warning_holds_a_value_or_a_name_that_the_model_chose(answer):
    sentences: list[str] = []
    try:
        check(
            answer,
            [MASK] * len(answer.get("parts", [])),
            serializer=InferenceSerializer(),
            strict=False,
            warn=sentences.append,
        )
    except AnswerInvalid as error:
        sentences.append(error.detail)
    assert sentences
    assert not [sentence for sentence in sentences if "DOE" in sentence or "12345678" in sentence]


def test_numpy_scalars_are_sent_as_numbers():
    answer = {
        "scores": [numpy.float32(0.5), numpy.int64(3), numpy.bool_(True), numpy.array(7), numpy.str_("a")],
        "study_ml_json": {numpy.int64(4): numpy.float64(0.25), numpy.str_("b"): None, 5: (1, 2)},
        "bounding_boxes_2d": [BOX | {"top_left": [numpy.uint16(1), numpy.float32(2)]}],
        "parts": [entry(binary_data_shape={"height": numpy.int32(4), "width": numpy.uint8(6)})],
    }
    sent = json.loads(strictly(answer, [MASK])[0])
    assert sent["scores"] == [0.5, 3, True, 7, "a"]
    assert sent["study_ml_json"] == {"4": 0.25, "b": None, "5": [1, 2]}
    assert sent["bounding_boxes_2d"][0]["top_left"] == [1, 2]
    assert sent["parts"][0]["binary_data_shape"] == {"height": 4, "width": 6}


def test_the_size_of_a_numpy_shape_does_not_overflow():
    with pytest.raises(AnswerInvalid, match=str(65535 * 65535)):
        strictly(mask(binary_data_shape={"height": numpy.uint16(65535), "width": numpy.uint16(65535)}), [MASK])


words = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), words, max_size=4), st.dictionaries(st.text(), words, max_size=4))
def test_any_json_of_the_study_and_its_series_is_sent_byte_for_byte(study, series):
    answer = {"protocol_version": "1.0", "parts": [], "study_ml_json": study, "series_ml_json": series}
    json_bytes, parts = strictly(answer, [])
    assert json_bytes == json.dumps(answer).encode()
    assert json.loads(json_bytes) == answer
    assert parts == []


@settings(deadline=None)
@given(words, st.lists(words, max_size=2))
def test_any_answer_at_all_is_sent_or_refused_by_the_one_error(answer, buffers):
    try:
        strictly(answer, buffers)
    except AnswerInvalid as error:
        assert error.detail


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("parts", "palettes", "bounding_boxes_2d", "linear_measurements_2d"), words)
    )
)
def test_any_annotation_at_all_is_sent_or_refused_at_a_place_that_resolves(answer):
    try:
        strictly(answer, [])
    except AnswerInvalid as error:
        assert error.pointer.split("/")[1] in answer


def test_the_json_is_encoded_before_the_serializer_can_change_it():
    class Meddler(InferenceSerializer):
        def __call__(self, json_response, binary_components):
            json_response["parts"].append("more")
            yield from [("application/binary", b"x" * 24)]

    json_bytes, _ = strictly(mask(), [MASK], Meddler())
    assert len(json.loads(json_bytes)["parts"]) == 1


@pytest.mark.parametrize("data", [b"picture", "picture", bytearray(b"picture"), numpy.frombuffer(b"picture", "u1")])
def test_a_serializer_of_the_services_own_decides_what_is_sent(data):
    class Pictures(InferenceSerializer):
        def __call__(self, json_response, binary_components):
            yield "image/png", data

    _, (part,) = strictly(mask(binary_data_shape={"height": 1, "width": 7}), [MASK], Pictures())
    assert part.media_type == "image/png"
    assert isinstance(part.data, memoryview)
    assert bytes(part.data) == b"picture"


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([], "yielded 0 parts for 1 buffers"),
        ([("a/b", b"")] * 2, "yielded 2 parts for 1 buffers"),
        ([b"mask"], "pairs"),
        ([None], "pairs"),
        ([(b"a/b", b"")], "media type that is text"),
    ],
)
def test_a_serializer_that_breaks_its_own_contract_is_the_services_fault(pairs, words):
    with pytest.raises(ModelFailed) as caught:
        strictly(mask(), [MASK], lambda answer, buffers: iter(pairs))
    assert words in caught.value.detail


def test_the_serializer_sees_empty_parts_where_the_model_returned_no_parts():
    seen = []
    strictly({}, [], lambda answer, buffers: seen.append((answer, buffers)) or [])
    assert seen == [({"parts": []}, [])]


@pytest.mark.parametrize("returned", [({"a": 1}, []), [{"a": 1}, []]])
def test_a_handlers_pair_is_split(returned):
    assert ModelAnswer.of(returned) == ModelAnswer({"a": 1}, [])


@pytest.mark.parametrize("returned", [None, {}, {"a": 1, "b": 2}, ({},), ({}, [], 3), "ab", 7])
def test_what_is_no_pair_is_refused_with_the_line_to_write(returned):
    with pytest.raises(AnswerInvalid, match=r"return answer, \[mask\]"):
        ModelAnswer.of(returned)


LENIENT = {
    "a float mask": (mask(), [(MASK / 255).astype("f4")], "/parts/0", "float32"),
    "a mask too short": (mask(), [MASK[:1]], "/parts/0/binary_data_shape", "12 bytes"),
    "an unknown kind": (mask(binary_type="hologram"), [b"any"], "/parts/0/binary_type", "one of probability_mask"),
    "no kind": ({"parts": [{}]}, [b"any"], "/parts/0/binary_type", "missing"),
    "an entry that is no object": ({"parts": [7]}, [b"any"], "/parts/0", "object"),
    "a value above the labels": (labelled({"1": "a"}), [MASK], "/parts/0", "value 23"),
    "a DICOM part that is none": ({"parts": [{"binary_type": "dicom"}]}, [b"x"], "/parts/0", "DICM"),
    "a box without a corner": (box(top_left=None), [], "/bounding_boxes_2d/1/top_left", "missing"),
    "NaN": ({"study_ml_json": {"score": NAN}}, [], "/study_ml_json", "no NaN"),
    "half a surrogate pair": ({"study_ml_json": {"score": "\ud83d"}}, [], "/study_ml_json", "surrogate"),
}


@pytest.mark.parametrize(("answer", "buffers", "where", "words"), LENIENT.values(), ids=LENIENT)
def test_when_not_strict_a_fault_is_one_warning_and_the_answer_is_sent_unchanged(answer, buffers, where, words):
    json_bytes, parts, (sentence,) = leniently(answer, buffers)
    assert sentence.startswith(f"{where}: ")
    assert words in sentence
    assert json_bytes == json.dumps(answer if "parts" in answer else {**answer, "parts": []}).encode()
    assert [bytes(part.data) for part in parts] == [content(buffer) for buffer in buffers]


def test_when_not_strict_a_part_of_unknown_kind_is_plain_binary():
    _, parts, _ = leniently({"parts": [{"binary_type": "hologram"}, None]}, [b"a", b"b"])
    assert [part.media_type for part in parts] == ["application/binary"] * 2


def test_when_not_strict_the_other_parts_are_still_checked():
    answer = {"parts": [entry(binary_type="hologram"), entry(), entry()]}
    *_, sentences = leniently(answer, [MASK, MASK[:1], MASK])
    assert [sentence.split(":")[0] for sentence in sentences] == [
        "/parts/0/binary_type",
        "/parts/1/binary_data_shape",
    ]


ALWAYS = {name: BAD[name] for name in list(BAD)[:11]} | {
    name: BAD[name]
    for name in ("an array", "a set", "a name that is no text", "a mask of objects", "a Dataset without UIDs")
}


@pytest.mark.parametrize(("answer", "buffers", "where", "words"), ALWAYS.values(), ids=ALWAYS)
def test_what_cannot_be_sent_is_refused_even_when_not_strict(answer, buffers, where, words):
    with pytest.raises(AnswerInvalid) as caught:
        leniently(answer, buffers)
    assert (caught.value.pointer, words in caught.value.detail) == (where, True)


def test_a_flood_of_faults_is_a_bounded_number_of_warnings():
    *_, sentences = leniently({"bounding_boxes_2d": [{}] * 10_000}, [])
    assert len(sentences) == response.MAX_WARNINGS


def test_a_mask_is_checked_and_sent_without_a_copy():
    volume = numpy.zeros((64, 256, 256), numpy.uint8)
    shape = {"depth": 64, "height": 256, "width": 256}
    _, (part,) = strictly(labelled({"1": "a"}, binary_data_shape=shape), [volume])
    assert numpy.shares_memory(numpy.asarray(part.data), volume)
