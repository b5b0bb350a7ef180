"""Boxes, lengths, classifications, measurements and heatmaps: what a reader finds in their objects."""

import io

import numpy as np
import pytest
from highdicom.pm import ParametricMap
from highdicom.sr import srread
from pydicom import Dataset, dcmread

from gateway import BoundingBox, Classification, Heatmap, LinearMeasurement, SecondaryCapture, StructuredReport, codes
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.errors import AnswerInvalid
from tests.dicom.writing.object_cases import VOLUMES, classic, enhanced, file_image, made, region

BOX = (0.5, 1.5, 3.5, 1.5, 3.5, 2.5, 0.5, 2.5, 0.5, 1.5)
"""The corners (0, 1) and (3, 2), of pixel centres, as a closed line where (0, 0) is the corner of the image."""


def box(of, index: int = 1) -> BoundingBox:
    return BoundingBox("Nodule", (0, 1), (3, 2), slice=index, of=of, code=codes.SCT.Nodule)


def groups(dataset: Dataset):
    return srread(io.BytesIO(convert_dataset_to_bytes(dataset))).content


def one(datasets: list[Dataset], modality: str) -> Dataset:
    (found,) = (each for each in datasets if each.Modality == modality)
    return found


@pytest.mark.parametrize("make", [classic, enhanced])
def test_a_box_is_a_closed_line_on_its_image_in_the_report(make) -> None:
    of = make()
    (group,) = groups(one(made([box(of)], of), "SR")).get_planar_roi_measurement_groups()
    assert group.finding_type == codes.SCT.Nodule
    assert group.tracking_identifier == "Nodule"
    region_of_interest = group.roi
    assert region_of_interest.GraphicType == "POLYLINE"
    np.testing.assert_allclose(np.ravel(region_of_interest.GraphicData), BOX)
    named = region_of_interest.ContentSequence[0].ReferencedSOPSequence[0]
    instance, frame = of.frames[1]
    assert named.ReferencedSOPInstanceUID == instance.sop_instance_uid
    assert named.ReferencedSOPClassUID == instance.header.SOPClassUID
    assert named.get("ReferencedFrameNumber") == (frame + 1 if instance.frames > 1 else None)


@pytest.mark.parametrize("make", [classic, enhanced])
def test_a_box_is_drawn_on_its_image_by_the_presentation_state(make) -> None:
    of = make()
    state = one(made([box(of)], of), "PR")
    (annotation,) = state.GraphicAnnotationSequence
    (graphic,) = annotation.GraphicObjectSequence
    assert (graphic.GraphicType, graphic.GraphicAnnotationUnits) == ("POLYLINE", "PIXEL")
    np.testing.assert_allclose(graphic.GraphicData, BOX)
    (named,) = annotation.ReferencedImageSequence
    instance, frame = of.frames[1]
    assert named.ReferencedSOPInstanceUID == instance.sop_instance_uid
    assert named.get("ReferencedFrameNumber") == (frame + 1 if instance.frames > 1 else None)
    assert annotation.TextObjectSequence[0].UnformattedTextValue == "Nodule"


def test_a_presentation_state_has_the_display_of_its_image() -> None:
    of = file_image("CT_small.dcm")
    state = one(made([LinearMeasurement("Line", (1, 2), (3, 4), of=of)], of), "PR")
    assert (state.RescaleSlope, state.RescaleIntercept) == (of.header.RescaleSlope, of.header.RescaleIntercept)
    (area,) = state.DisplayedAreaSelectionSequence
    assert area.DisplayedAreaBottomRightHandCorner == [of.header.Columns, of.header.Rows]
    np.testing.assert_allclose(area.PresentationPixelSpacing, of.header.PixelSpacing)


def test_images_of_other_rescales_have_presentation_states_of_their_own() -> None:
    of = enhanced()
    assert sum(each.Modality == "PR" for each in made([box(of, 0), box(of, 1), box(of, 1)], of)) == 2


def test_a_length_on_an_image_is_measured_in_mm() -> None:
    of = enhanced()
    report = one(made([LinearMeasurement("Line", (0, 0), (3, 4), slice=2, of=of)], of), "SR")
    (group,) = groups(report).get_planar_roi_measurement_groups()
    (measurement,) = group.get_measurements()
    assert (measurement.name, measurement.unit) == (codes.SCT.Length, codes.UCUM.Millimeter)
    assert measurement.value == pytest.approx(np.hypot(3 * 0.5, 4 * 0.75))


def test_a_length_on_an_image_without_spacing_is_measured_in_pixels() -> None:
    of = file_image("examples_rgb_color.dcm")
    report = one(made([LinearMeasurement("Line", (0, 0), (3, 4), of=of)], of), "SR")
    (measurement,) = groups(report).get_planar_roi_measurement_groups()[0].get_measurements()
    assert (measurement.value, measurement.unit.value) == (5, "{pixels}")


def test_a_length_in_the_patient_is_a_line_in_the_frame_of_reference() -> None:
    of = classic()
    (report,) = made([LinearMeasurement("Way", (1.0, 2.0, 3.0), (1.0, 2.0, 7.5))], of)
    assert report.SOPClassUID.name == "Comprehensive 3D SR Storage"
    (measurement,) = groups(report).get_image_measurement_groups()[0].get_measurements()
    assert measurement.value == pytest.approx(4.5)
    (line,) = (item for item in measurement[0].ContentSequence if item.ValueType == "SCOORD3D")
    assert line.ReferencedFrameOfReferenceUID == of.header.FrameOfReferenceUID
    np.testing.assert_allclose(np.ravel(line.GraphicData), [1, 2, 3, 1, 2, 7.5])


def test_a_length_in_the_patient_is_drawn_on_the_image_that_it_names() -> None:
    of = classic()
    ends = [(of.affine @ [2, row, column, 1])[:3] for row, column in ((4, 3), (6, 5))]
    found = made([LinearMeasurement("Way", tuple(ends[0]), tuple(ends[1]), slice=2, of=of)], of)
    graphic = one(found, "PR").GraphicAnnotationSequence[0].GraphicObjectSequence[0]
    np.testing.assert_allclose(graphic.GraphicData, [3.5, 4.5, 5.5, 6.5], atol=1e-4)


def test_classifications_are_measurements_and_evaluations() -> None:
    of = classic()
    report = one(made([Classification({"sick": True, "grade": "II", "risk": 0.25}, of=of)], of), "SR")
    (group,) = groups(report).get_image_measurement_groups()
    said = {item.name.meaning: item.value for item in group.get_qualitative_evaluations()}
    assert said["sick"] == codes.SCT.Yes
    assert said["grade"].meaning == "II"
    (risk,) = group.get_measurements()
    assert (risk.name.meaning, risk.value) == ("risk", 0.25)
    assert len(group.source_images) == len(of.instances)


def test_measurements_keep_their_names_values_and_units() -> None:
    of = classic()
    content = [("Volume", 12.5, "ml"), (codes.SCT.Diameter, 3, codes.UCUM.Centimeter), ("Count", 2, "")]
    report = one(made([StructuredReport(content, "Findings")], of), "SR")
    (group,) = groups(report).get_image_measurement_groups()
    found = [(each.name.meaning, each.value, each.unit.value) for each in group.get_measurements()]
    assert found == [("Volume", 12.5, "ml"), ("Diameter", 3.0, "cm"), ("Count", 2.0, "1")]
    assert group.tracking_identifier == "Findings"


def test_the_report_names_the_model_as_its_observer_and_algorithm() -> None:
    report = one(made([Classification({"a": 1})], classic()), "SR")
    words = str(report)
    assert "Lung nodules" in words
    assert report.ConceptNameCodeSequence[0].CodeValue == "126000"


@pytest.mark.parametrize("kind", VOLUMES)
def test_a_heatmap_of_floats_is_read_back_exactly(kind: str) -> None:
    of = VOLUMES[kind]()
    heat = np.random.default_rng(0).random(of.shape, dtype=np.float32)
    (dataset,) = made([Heatmap(heat, "Heat", of)], of)
    np.testing.assert_array_equal(dataset.pixel_array.reshape(of.shape), heat)
    assert ParametricMap.from_dataset(dataset).number_of_frames == of.shape[0]
    for group, (instance, frame) in zip(dataset.PerFrameFunctionalGroupsSequence, of.frames, strict=True):
        named = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert named.ReferencedSOPInstanceUID == instance.sop_instance_uid
        assert named.get("ReferencedFrameNumber", 1) == frame + 1


def test_a_heatmap_of_uint8_maps_to_0_to_1() -> None:
    of = classic()
    heat = region(of).astype(np.uint8) * 51
    (dataset,) = made([Heatmap(heat, "Heat", of)], of)
    read = ParametricMap.from_dataset(dcmread(io.BytesIO(convert_dataset_to_bytes(dataset))))
    np.testing.assert_allclose(read.get_frames(apply_real_world_transform=True), heat / 255)


def test_a_heatmap_has_the_unit_that_it_names() -> None:
    of = classic()
    (dataset,) = made([Heatmap(np.zeros(of.shape, np.float32), "Dose", of, unit=codes.UCUM.Percent)], of)
    groups_ = [*dataset.SharedFunctionalGroupsSequence, *dataset.PerFrameFunctionalGroupsSequence]
    (mapping,) = next(each.RealWorldValueMappingSequence for each in groups_ if "RealWorldValueMappingSequence" in each)
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "%"


@pytest.mark.parametrize("shape", [(4, 7), (4, 7, 3)])
def test_a_picture_keeps_its_pixels(shape: tuple[int, ...]) -> None:
    picture = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    (dataset,) = made([SecondaryCapture(picture, "Picture")], classic())
    np.testing.assert_array_equal(dataset.pixel_array, picture)
    assert dataset.SeriesDescription == "Picture"


@pytest.mark.parametrize("picture", [np.zeros((3, 3)), np.zeros((3, 3, 4), np.uint8), np.zeros((0, 3), np.uint8), "x"])
def test_what_is_no_picture_is_refused(picture) -> None:
    with pytest.raises(AnswerInvalid):
        made([SecondaryCapture(picture)], classic())


@pytest.mark.parametrize(
    "finding",
    [
        lambda of: BoundingBox("Out", (0, 0), (99, 99), slice=0, of=of),
        lambda of: BoundingBox("Where", (0, 0), (1, 1), of=of),
        lambda of: BoundingBox("Beyond", (0, 0), (1, 1), slice=99, of=of),
        lambda of: BoundingBox("Nowhere", (0, 0), (1, 1)),
        lambda of: Heatmap(np.full(of.shape, 2.0), "Hot", of),
        lambda of: StructuredReport([("Volume", "much", "ml")]),
        lambda of: StructuredReport([("Volume", 1.0)]),
    ],
)
def test_a_finding_that_lies_on_no_image_or_out_of_range_is_refused(finding) -> None:
    of = classic()
    with pytest.raises(AnswerInvalid):
        made([finding(of)], of)
