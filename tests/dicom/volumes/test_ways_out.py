"""Each refusal of a volume has a reason for the log, names an attribute and a file, and says what to do instead."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import ComprehensiveSRStorage, MRImageStorage

from gateway import Gateway, Image, LinearMeasurement, Mask, Volume
from gateway.dicom.volumes.study import split, study, volume
from gateway.errors import StudyRefused
from tests.binding.asking import ask, related, serving
from tests.dicom.volumes.volume_series import item, multi_frame, parts, series, slice_at

OF_IMAGES = "a model of images"


def each(count: int = 3, **attributes: Callable[[int], Any]) -> list[Dataset]:
    """Slices with attributes by their index; None leaves one out."""
    slices = series(count)
    for index, dataset in enumerate(slices):
        for keyword, make in attributes.items():
            if (value := make(index)) is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
    return slices


def twice(**attributes: tuple[Any, Any]) -> list[Dataset]:
    """Two images at each of three positions, with other attributes."""
    both = [*series(3), *series(3)]
    for index, dataset in enumerate(both):
        for keyword, values in attributes.items():
            setattr(dataset, keyword, values[index // 3])
    return both


def echoes_in_one_file() -> list[Dataset]:
    return [multi_frame([*series(2), *series(2)])]


def reports() -> list[Dataset]:
    return [slice_at((0, 0, 0), SOPClassUID=ComprehensiveSRStorage, Rows=None, Columns=None, PixelData=None)]


def unnamed() -> list[Dataset]:
    slices = each(SOPInstanceUID=lambda _: None)
    for dataset in slices:
        dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    return slices


def mosaics() -> list[Dataset]:
    return each(SOPClassUID=lambda _: MRImageStorage, ImageType=lambda _: ["ORIGINAL", "PRIMARY", "M", "MOSAIC"])


FIRST_PHASE = (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"])
REFUSED: dict[str, tuple[Callable[[], list[Dataset]], str, list[str]]] = {
    "echoes": (lambda: twice(EchoTime=(2.4, 4.8)), "several images at each position", ["echoes", "one EchoTime"]),
    "magnitude and phase": (
        lambda: twice(ImageType=FIRST_PHASE),
        "several images at each position",
        ["magnitude and phase", "one ImageType"],
    ),
    "b-values": (lambda: twice(DiffusionBValue=(0.0, 1000.0)), "several images", ["b-values", "one DiffusionBValue"]),
    "time points": (twice, "several images at each position", ["time points", "one AcquisitionTime"]),
    "echoes in one file": (echoes_in_one_file, "several images at each", ["one FrameType, EffectiveEchoTime"]),
    "a duplicate": (lambda: [*series(), series()[2]], "duplicate slices", ["one at each", "remove the others"]),
    "no place": (lambda: each(ImagePositionPatient=lambda i: None), "no place", ["ImagePositionPatient", OF_IMAGES]),
    "colour": (
        lambda: each(PhotometricInterpretation=lambda _: "RGB"),
        "no grey values",
        ["PhotometricInterpretation", OF_IMAGES],
    ),
    "no spacing": (lambda: each(PixelSpacing=lambda _: None), "no PixelSpacing", ["PixelSpacing", OF_IMAGES]),
    "reports": (reports, "no images", ["Comprehensive SR Storage (1)", "list[Series]"]),
    "frames without places": (
        lambda: [slice_at((0, 0, 0), NumberOfFrames=2, PixelData=bytes(34 * 40 * 4))],
        "frames without a place",
        ["PlanePositionSequence", OF_IMAGES],
    ),
    "a localizer": (
        lambda: each(ImageOrientationPatient=lambda i: [1, 0, 0, 0, int(i > 0), -int(i == 0)]),
        "several directions",
        ["ImageOrientationPatient", "those of one direction"],
    ),
    "two sizes": (
        lambda: each(Rows=lambda i: 34 - i // 2 * 2),
        "several sizes",
        ["rows or columns", "those of each size"],
    ),
    "two spacings": (
        lambda: each(PixelSpacing=lambda i: [0.5, 0.5 + i]),
        "several pixel spacings",
        ["PixelSpacing", "those of each spacing"],
    ),
    "a tilt": (lambda: series(shear=1.0), "tilted gantry", ["Requires(allow_tilt=True)"]),
    "an uneven step": (lambda: slices_at(0, 2.5, 5.9, 7.5), "uneven slices", ["spacing_tolerance", "uneven=True"]),
    "a missing slice": (lambda: slices_at(0, 2.5, 7.5), "missing slices", ["Requires(uneven=True)"]),
    "two frames of reference": (
        lambda: each(FrameOfReferenceUID=lambda i: f"1.2.{i // 2 + 1}"),
        "several frames of reference",
        ["FrameOfReferenceUID", "the images of each"],
    ),
    "both sides": (
        lambda: each(Laterality=lambda i: "LR"[i // 2]),
        "several sides",
        ["Laterality", "the images of each"],
    ),
    "two units": (lambda: each(RescaleType=lambda i: ["HU", "US"][i // 2]), "several units", ["RescaleType"]),
    "two greys": (
        lambda: each(PhotometricInterpretation=lambda i: f"MONOCHROME{i // 2 + 1}"),
        "several photometric interpretations",
        ["PhotometricInterpretation"],
    ),
    "a mosaic": (mosaics, "mosaic", ["ImageType (0008,0008)", OF_IMAGES]),
    "no names": (unnamed, "no SOPInstanceUID", ["SOPInstanceUID (0008,0018)"]),
}
BY_DIGEST = set(REFUSED) - {
    *("echoes", "magnitude and phase", "b-values", "time points", "echoes in one file", "a duplicate", "reports"),
    *("a tilt", "an uneven step", "a missing slice"),
}
"""What one file is to blame for."""


def slices_at(*heights: float) -> list[Dataset]:
    return [slice_at((0, 0, height), index) for index, height in enumerate(heights)]


def refusal(datasets: list[Dataset]) -> StudyRefused:
    with pytest.raises(StudyRefused) as refused:
        volume(split(parts(datasets))[0])
    return refused.value


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_names_its_reason_and_the_way_out(kind: str) -> None:
    make, reason, way_out = REFUSED[kind]
    refused = refusal(make())
    assert reason in refused.private
    assert [words for words in way_out if words not in refused.detail] == []
    assert ("whose sha256 begins with" in refused.detail) == (kind in BY_DIGEST)
    assert ",;" not in refused.detail


def test_a_decimal_comma_is_not_said_to_be_absent() -> None:
    (file,) = parts([slice_at((0, 0, 0))])
    data = file.getvalue().replace(b"0.75\\0.5", b"0,75\\0,5")
    file.seek(0)
    file.write(data)
    with pytest.raises(StudyRefused, match=r"PixelSpacing \(0028,0030\) does not hold"):
        volume(split([file])[0])


@pytest.mark.parametrize("shared", [True, False])
def test_a_spacing_for_each_frame_counts_as_stated(shared: bool) -> None:
    dataset = multi_frame(series(3))
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        groups.PixelMeasuresSequence = [item(PixelSpacing=[0.75, 0.5])]
    if not shared:
        del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert volume(split(parts([dataset]))[0]).shape[0] == 3


@pytest.mark.parametrize(
    ("keyword", "value", "logged"),
    [
        ("FrameOfReferenceUID", "1.2.3", "no volume: several frames of reference"),
        ("RescaleSlope", "", "RescaleSlope (0028,1053) sha256 "),
        ("PatientID", "MRN-4712", "PatientID (0010,0020) sha256 "),
    ],
)
def test_the_log_has_the_reason_of_a_refusal_and_no_value(
    keyword: str, value: str, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    def look(ct: Volume) -> Mask:
        raise AssertionError

    slices = series()
    setattr(slices[2], keyword, value)
    with caplog.at_level(logging.WARNING, "gateway"):
        answer = ask(serving(look), files=slices)
    assert answer.status == 422
    (line,) = [record.getMessage() for record in caplog.records if "study-refused" in record.getMessage()]
    assert logged in line
    assert not any(word in line for word in ("1.2.3", "MRN-4711", "MRN-4712"))


def test_the_text_of_a_model_s_own_refusal_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    def look(ct: Volume) -> Mask:
        raise StudyRefused("Doe^Jane is too young.")

    assert ask(serving(look), files=series()).status == 422
    assert "Doe" not in caplog.text


def test_dicom_before_the_json_is_called_so() -> None:
    body = related({}, [])
    file = parts([slice_at((0, 0, 0))])[0].getvalue()
    swapped = b"--b\r\n\r\n" + file + b"\r\n" + body
    app = Gateway("swapped")
    app.add_inference_route("/", lambda json, files, digest: ({}, []))
    answer = app.test_client().post("/", data=swapped, content_type="multipart/related; boundary=b")
    assert answer.get_json()["type"] == "urn:gateway:problem:broken-json"
    assert "DICOM" in answer.get_json()["detail"]


@pytest.mark.parametrize(("other", "status"), [(None, 200), ("1.2.3", 500)])
def test_a_length_in_mm_names_its_image_where_images_are_in_several_frames_of_reference(
    other: str | None, status: int
) -> None:
    def measure(images: list[Image]) -> list[LinearMeasurement]:
        return [LinearMeasurement("length", (0.0, 0.0, 5.0), (10.0, 0.0, 5.0))]

    slices = series()
    for dataset in slices[2:] if other else ():
        dataset.FrameOfReferenceUID = other
    answer = ask(serving(measure), files=slices)
    assert answer.status == status, answer.json


def test_another_issuer_of_one_patient_id_is_another_patient() -> None:
    slices = series()
    for dataset, issuer in zip(slices, "AAABB", strict=True):
        dataset.IssuerOfPatientID = issuer
    with pytest.raises(StudyRefused, match="IssuerOfPatientID"):
        study(parts(slices))
