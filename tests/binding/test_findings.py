"""Findings of a typed model: checked against its declaration and their source, and returned in either form."""

from typing import Annotated, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway import (
    Attachment,
    BoundingBox,
    Classification,
    Conformance,
    Finding,
    Heatmap,
    Image,
    LabelMask,
    LinearMeasurement,
    Mask,
    ProbabilityMask,
    Request,
    SecondaryCapture,
    Volume,
)
from gateway.binding.typed_model import TypedModel
from gateway.dicom.reading.files import convert_dataset_to_bytes
from tests.binding.asking import SHAPE, SIZE, ask, series, serving

FLOATS = np.zeros(SHAPE, np.float32)


def saying(*findings: Any) -> Any:
    """A model of one volume that returns ``findings`` for any request."""

    def find(ct: Volume) -> list[Finding]:
        return list(findings)

    return find


def invalid(target: Any, files: Any = None) -> str:
    answer = ask(serving(target), files=series() if files is None else files)
    assert answer.status == 500, answer
    assert answer.json["type"] == "urn:gateway:problem:answer-invalid"
    return str(answer.json["detail"])


def test_a_mask_lies_on_the_one_volume_that_is_declared() -> None:
    def find(ct: Volume, threshold: float = 0) -> Mask:
        """Everything denser than water."""
        return Mask(ct.array > threshold, "Dense")

    answer = ask(serving(find), files=reversed(series()), threshold="-500")
    assert answer.json["parts"][0]["SeriesInstanceUID"] == "1.2.3.1"
    assert answer.json["parts"][0]["label"] == "Dense"
    hounsfield = np.stack([one.pixel_array.astype(np.float32) - 1024 for one in series()])
    assert np.array_equal(answer.mask(), hounsfield > -500)


@pytest.mark.parametrize("returned", [Mask, Annotated[NDArray[np.bool_], Mask], list[Mask]])
def test_a_bare_array_is_what_the_model_declares(returned: Any) -> None:
    def find(ct: Volume) -> Any:
        return ct.array > 0

    find.__annotations__["return"] = returned
    assert ask(serving(find), files=series()).json["parts"][0]["binary_type"] == "boolean_mask"


def test_a_bare_array_of_a_probability_mask_is_scaled() -> None:
    def find(ct: Volume) -> ProbabilityMask:
        return np.full(ct.shape, 0.5, np.float32)

    assert set(ask(serving(find), files=series()).parts[0]) == {128}


def test_a_bare_array_that_could_be_several_things_is_refused() -> None:
    def find(ct: Volume) -> Mask | Heatmap:
        return ct.array > 0

    assert "may return Mask, Heatmap; say which" in invalid(find)


def test_an_empty_mask_is_a_valid_answer() -> None:
    answer = ask(serving(saying(Mask(np.zeros(SHAPE, bool), "Nodule"))), files=series())
    assert answer.status == 200
    assert not answer.mask().any()


def test_nothing_found_is_a_valid_answer_and_nothing_returned_is_not() -> None:
    def forgets(ct: Volume) -> Mask:
        pass

    def may(ct: Volume) -> Mask | None:
        return None

    assert ask(serving(saying()), files=series()).json["parts"] == []
    assert ask(serving(may), files=series()).json["parts"] == []
    assert "returned nothing. Return []" in invalid(forgets)


def test_a_shape_that_does_not_fit_is_shown_beside_the_one_that_would() -> None:
    detail = invalid(saying(Mask(np.zeros((3, 4, 5), bool))))
    assert detail == f"Finding 1, a Mask, has the shape (3, 4, 5), but the Volume it lies on has {SHAPE}."


@pytest.mark.parametrize(
    ("finding", "sentence"),
    [
        (Mask(FLOATS), "Finding 1, a Mask, is float32; give bool, such as array > 0.5, or uint8 of 0 and 1."),
        (Mask(FLOATS.astype(np.uint8) + 255), "holds values beyond 0 to 1"),
        (Mask([[1]]), "holds a list, not a numpy array"),
        (Mask(np.ma.zeros(SHAPE, bool)), "holds a MaskedArray, not a numpy array"),
        (LabelMask(np.full(FLOATS.shape, 7), {1: "a"}), "labels do not name: 7."),
        (ProbabilityMask(FLOATS > 0), "is bool; give floats of 0 to 1, or uint8"),
        (ProbabilityMask(FLOATS.astype(np.uint16)), "is uint16; give floats"),
        (ProbabilityMask(FLOATS + 2), "floats of 0 to 1, or uint8"),
        (Heatmap(FLOATS * np.nan), "floats of 0 to 1, or uint8"),
        (LabelMask(FLOATS, {1: "Liver"}), "is float32; give integers of 0 to 255"),
        (LabelMask(FLOATS.astype(np.int16) + 300, {1: "Liver"}), "holds values beyond 0 to 255"),
        (LabelMask(FLOATS.astype(np.int16) - 1, {1: "Liver"}), "holds values beyond 0 to 255"),
        (LabelMask(FLOATS.astype(np.uint8) + 2, {1: "Liver"}), "holds a value that its labels do not name"),
        (LabelMask(FLOATS.astype(np.uint8), {0: "Air"}), "names labels beyond 1 to 255"),
        (BoundingBox("Box", (0, 0), (SIZE, 3), slice=0), "leaves its image of 16 rows and 16 columns"),
        (BoundingBox("Box", (5, 0), (4, 3), slice=0), "bottom right above or left of its top left"),
        (BoundingBox("Box", (0, 0, 0), (1, 1, 1), slice=0), "give (column, row)"),
        (BoundingBox("Box", (0, 0), (1, 1)), "slice=0 to 3"),
        (BoundingBox("Box", (0, np.nan), (1, 1), slice=0), "not finite"),
        (LinearMeasurement("Line", (0, 0), (1, 1, 1), slice=0), "points of 2 and 3 numbers"),
        ({"parts": []}, "should return findings, such as Mask, not dict"),
        ("nodule", "not str"),
    ],
)
def test_a_finding_that_cannot_be_right_is_refused_in_a_sentence_for_its_author(finding: Any, sentence: str) -> None:
    assert sentence in invalid(saying(finding))


def test_a_finding_that_was_not_declared_is_refused() -> None:
    def find(ct: Volume) -> Mask:
        return Heatmap(np.zeros(ct.shape, np.float32))

    assert invalid(find) == "The model declares Mask, but it returned a Heatmap."


def test_a_finding_must_name_its_source_where_that_is_not_implied() -> None:
    def find(images: list[Image]) -> list[Mask]:
        return [Mask(one.array > 0) for one in images]

    def says(images: list[Image]) -> list[Mask]:
        return [Mask(one.array > 0, of=one) for one in images]

    assert "does not say what it lies on" in invalid(find)
    answer = ask(serving(says), files=series())
    uids = [entry["dicom_image"]["SOPInstanceUID"] for entry in answer.json["parts"]]
    assert uids == [f"1.2.3.1.{number}" for number in range(1, 5)]


def test_boxes_measurements_and_labels_leave_as_protocol_1_0() -> None:
    target = saying(
        BoundingBox("Box", (1, 2), (3, 4), slice=2),
        LinearMeasurement("Line", (0, 0), (15, 15), slice=0),
        LinearMeasurement("Depth", (0.0, 0.0, 0.0), (0.0, 0.0, 9.5)),
        Classification({"finding": "none"}),
        Conformance("thin slices", False),
    )
    said = ask(serving(target), files=series()).json
    assert said["bounding_boxes_2d"][0]["SOPInstanceUID"] == "1.2.3.1.3"
    assert [line["coordinates_type"] for line in said["linear_measurements_2d"]] == ["pixel", "world"]
    assert said["study_ml_json"] == {"finding": "none"}
    assert said["dicomConformance"]["recommended"] == [{"description": "thin slices", "compliant": False}]


def test_findings_can_be_had_before_any_door() -> None:
    def count(number: int) -> Classification:
        return Classification({"number": number})

    (found,) = TypedModel("/", count).findings(Request({"number": "2"}, [], "0" * 64))
    assert isinstance(found, Classification)
    assert found.labels == {"number": 2}


def test_attachments_are_distinguished_from_dicom_by_their_bytes() -> None:
    def find(ct: Volume, notes: list[Attachment]) -> Classification:
        return Classification({"slices": ct.shape[0], "notes": [note.read().decode() for note in notes]})

    said = ask(serving(find), files=[b"first", b"second", *series()]).json["study_ml_json"]
    assert said == {"slices": 4, "notes": ["first", "second"]}


def test_one_attachment_is_needed_where_one_is_declared() -> None:
    def find(notes: Attachment) -> Classification:
        return Classification({"notes": notes.read().decode()})

    def may(notes: Attachment | None = None) -> Classification:
        return Classification({"notes": notes is not None})

    assert ask(serving(find), files=[b"first"]).json["study_ml_json"] == {"notes": "first"}
    assert ask(serving(may)).json["study_ml_json"] == {"notes": False}
    for files, count in (([], "no"), ([b"first", b"second"], "2")):
        answer = ask(serving(find), files=files)
        detail = f"This model needs one attachment; {count} files of the request are not DICOM."
        assert answer.status == 422
        assert answer.json["detail"].startswith(detail)


def test_attachments_alone_have_no_study_for_dicom_objects() -> None:
    def find(notes: Attachment) -> Classification:
        return Classification({"notes": notes.read().decode()})

    answer = ask(serving(find), files=[b"first"], accept="application/dicom")
    assert answer.status == 422
    assert answer.json["detail"].startswith("The answer is a DICOM object, which belongs to a study")


def test_a_file_that_is_no_dicom_is_never_dropped_in_silence() -> None:
    answer = ask(serving(saying()), files=[*series(), b"a slice that lost its head"])
    assert answer.status == 422
    detail = f"This model takes no attachments; one file of the request is not DICOM. File {len(series()) + 1}: "
    assert answer.json["detail"].startswith(detail)


def test_dicom_without_a_preamble_is_called_so() -> None:
    naked = convert_dataset_to_bytes(series()[0])[132:]
    answer = ask(serving(saying()), files=[naked])
    assert answer.status == 422
    assert "File 1: It has no preamble" in answer.json["detail"]


def test_a_model_that_takes_the_request_sees_every_file() -> None:
    def find(request: Request, ct: Volume) -> Classification:
        return Classification({"files": len(request.instances)})

    assert ask(serving(find), files=[b"note", *series()]).json["study_ml_json"] == {"files": 5}


def test_a_models_own_exception_is_a_500_without_its_text() -> None:
    def find(ct: Volume) -> Mask:
        raise RuntimeError(ct.header.PatientName)

    answer = ask(serving(find), files=series())
    assert answer.status == 500
    assert answer.json["type"].endswith("model-failed")
    assert "Phantom" not in str(answer.json)


DOORS = [
    ({"output": "dicom"}, "", True),
    ({}, 'multipart/related; type="application/dicom"', True),
    ({}, 'multipart/related; type="application/dicom", */*;q=0.1', True),
    ({"output": "json"}, "application/dicom", False),
    ({}, "application/dicom;q=0", False),
    ({}, "application/dicom+json, */*", False),
    ({}, '";;', False),
    ({}, "", False),
]


@pytest.mark.parametrize(("asked", "accept", "is_dicom"), DOORS)
def test_the_request_or_its_accept_header_chooses_the_door(asked: dict[str, Any], accept: str, is_dicom: bool) -> None:
    def find(ct: Volume) -> Mask:
        return Mask(ct.array > 0, "Dense")

    answer = ask(serving(find, version="1.2.0"), files=series(), accept=accept, **asked)
    assert answer.status == 200, answer.json
    assert answer.json["parts"][0]["binary_type"] == ("dicom" if is_dicom else "boolean_mask")


def test_a_mask_leaves_as_a_segmentation_of_the_same_study() -> None:
    def find(ct: Volume) -> Mask:
        return Mask(ct.array > 0, "Dense")

    first, again = (ask(serving(find), files=series(), output="dicom").datasets()[0] for _ in range(2))
    assert first.Modality == "SEG"
    assert first.StudyInstanceUID == "1.2.3"
    assert first.SeriesInstanceUID not in ("1.2.3.1", "")
    assert first.SOPInstanceUID == again.SOPInstanceUID
    other = ask(serving(find, version="2"), files=series(), output="dicom").datasets()[0]
    assert other.SOPInstanceUID != first.SOPInstanceUID


def test_a_picture_is_dicom_at_either_door() -> None:
    target = saying(SecondaryCapture(np.zeros((8, 8, 3), np.uint8), "Outline"))
    for asked in ({}, {"output": "dicom"}):
        answer = ask(serving(target), files=series(), **asked)
        assert answer.json["parts"][0]["binary_type"] == "dicom_secondary_capture"
        assert answer.datasets()[0].Rows == 8
