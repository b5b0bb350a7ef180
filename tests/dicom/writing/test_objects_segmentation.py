"""Masks as SEG, read back by highdicom and compared voxel by voxel on the source frames."""

import io

import numpy as np
import pytest
from highdicom.seg import Segmentation, segread
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from gateway import Code, Heatmap, Label, LabelMask, Mask, ProbabilityMask, codes
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.volumes.study import study
from gateway.errors import AnswerInvalid
from tests.dicom.volumes.volume_series import add_pixels, parts, series
from tests.dicom.writing.object_cases import VOLUMES, classic, file_image, made, region, single
from tests.examples import examples


def read(dataset: Dataset) -> Segmentation:
    return segread(io.BytesIO(convert_dataset_to_bytes(dataset)))


def on_frames(segmentation: Segmentation, of, segment: int, *, fractions: bool = False) -> np.ndarray:
    """(slice, row, column) of one segment, by the source frames that the object names."""
    options = {"segment_numbers": [segment], "rescale_fractional": False, "assert_missing_frames_are_empty": True}
    uids = [one.sop_instance_uid for one in of.instances]
    if of.instances[0].frames > 1:
        numbers = [frame + 1 for _, frame in of.frames]
        found = segmentation.get_pixels_by_source_frame(uids[0], numbers, ignore_spatial_locations=True, **options)
    else:
        found = segmentation.get_pixels_by_source_instance(uids, ignore_spatial_locations=True, **options)
    return found[..., 0] if fractions else found[..., 0].astype(bool)


@pytest.mark.parametrize("kind", VOLUMES)
def test_a_mask_lies_on_the_frames_it_was_made_of_voxel_by_voxel(kind: str) -> None:
    of = VOLUMES[kind]()
    voxels = region(of)
    (dataset,) = made([Mask(voxels, "Lung", of)], of)
    np.testing.assert_array_equal(on_frames(read(dataset), of, 1), voxels)


@settings(deadline=None, max_examples=examples(20))
@given(shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)), seed=st.integers(0, 99))
def test_planes_of_any_size_are_read_back(shape: tuple[int, int, int], seed: int) -> None:
    slices = series(shape[0])
    for each in slices:
        add_pixels(each, np.zeros(shape[1:], "<u2"))
    of = study(parts(slices)).series[0].volume()
    found = read(made([Mask(region(of, seed), "x", of), Mask(region(of, seed + 1), "y", of)], of)[0])
    for number in (1, 2):
        np.testing.assert_array_equal(on_frames(found, of, number), region(of, seed + number - 1))


@pytest.mark.parametrize("kind", VOLUMES)
def test_five_overlapping_masks_are_five_segments_of_one_object(kind: str) -> None:
    of = VOLUMES[kind]()
    regions = [region(of, seed) for seed in range(5)]
    (dataset,) = made([Mask(voxels, f"Region {index}", of) for index, voxels in enumerate(regions)], of)
    assert dataset.SegmentsOverlap == "YES"
    found = read(dataset)
    for number, voxels in enumerate(regions, start=1):
        np.testing.assert_array_equal(on_frames(found, of, number), voxels)


@pytest.mark.parametrize("kind", VOLUMES)
def test_each_label_of_a_label_mask_is_a_segment_in_the_order_of_its_value(kind: str) -> None:
    of = VOLUMES[kind]()
    values = region(of).astype(np.int32) * np.arange(1, of.shape[-1] + 1) % 4
    (dataset,) = made([LabelMask(values, {3: "Third", 1: "First", 2: Label("Second", codes.SCT.Liver)}, of=of)], of)
    assert (dataset.SegmentationType, dataset.SegmentsOverlap) == ("BINARY", "NO")
    assert [item.SegmentLabel for item in dataset.SegmentSequence] == ["First", "Second", "Third"]
    found = read(dataset)
    for number in (1, 2, 3):
        np.testing.assert_array_equal(on_frames(found, of, number), values == number)


@pytest.mark.parametrize("kind", VOLUMES)
def test_probabilities_are_fractions_of_255(kind: str) -> None:
    of = VOLUMES[kind]()
    chances = (region(of) * np.linspace(0, 1, of.shape[-1])).astype(np.float32)
    (dataset,) = made([ProbabilityMask(chances, "Lung", of)], of)
    assert (dataset.SegmentationType, dataset.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    found = on_frames(read(dataset), of, 1, fractions=True)
    np.testing.assert_array_equal(found, np.round(chances * 255))


@pytest.mark.parametrize("kind", VOLUMES)
def test_the_geometry_is_that_of_the_source(kind: str) -> None:
    of = VOLUMES[kind]()
    (dataset,) = made([Mask(np.ones(of.shape, bool), "All", of)], of)
    geometry = read(dataset).get_volume_geometry()
    assert geometry is not None
    corner = [[0, 0, 0], [of.shape[0] - 1, of.shape[1] - 1, of.shape[2] - 1]]
    ours = {tuple(np.round(of.affine[:3] @ [*index, 1], 6)) for index in corner}
    theirs = {tuple(np.round(point, 6)) for point in geometry.map_indices_to_reference(np.array(corner))}
    flipped = [[corner[1][0], 0, 0], [0, *corner[1][1:]]]
    reversed_ = {tuple(np.round(point, 6)) for point in geometry.map_indices_to_reference(np.array(flipped))}
    assert ours in (theirs, reversed_)
    assert dataset.FrameOfReferenceUID == of.header.FrameOfReferenceUID


def test_an_empty_mask_states_that_nothing_was_found() -> None:
    of = classic()
    (dataset,) = made([Mask(np.zeros(of.shape, bool), "Nodule", of)], of)
    assert dataset.NumberOfFrames == 1
    assert not on_frames(read(dataset), of, 1).any()


def test_planes_without_voxels_are_left_out() -> None:
    of = classic()
    voxels = np.zeros(of.shape, bool)
    voxels[3] = True
    (dataset,) = made([Mask(voxels, "Slice", of)], of)
    (group,) = dataset.PerFrameFunctionalGroupsSequence
    assert group.PlanePositionSequence[0].ImagePositionPatient == of.instances[3].header.ImagePositionPatient


def test_a_mask_on_a_frame_without_a_place_in_the_patient_names_the_frame() -> None:
    of = file_image("examples_ybr_color.dcm")
    (dataset,) = made([Mask(region(of), "Heart", of)], of)
    source = dataset.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert (source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber) == (of.instance.sop_instance_uid, 30)
    assert "FrameOfReferenceUID" not in dataset
    np.testing.assert_array_equal(dataset.pixel_array.astype(bool), region(of))


def test_masks_on_other_images_are_objects_of_their_own() -> None:
    of, other = classic(), single()
    found = made([Mask(region(of), "A", of), Mask(region(other), "B", other), Mask(region(of), "C", of)], of)
    assert [[item.SegmentLabel for item in each.SegmentSequence] for each in found] == [["A", "C"], ["B"]]


def type_of(dataset: Dataset, segment: int = 0) -> tuple[str, str, str]:
    item = dataset.SegmentSequence[segment].SegmentedPropertyTypeCodeSequence[0]
    return item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning


def test_each_segment_carries_the_code_that_its_finding_has() -> None:
    of = classic()
    own = Code("X1", "99MINE", "Mine")
    (dataset,) = made([Mask(region(of), "a", of, codes.SCT.Lung), Mask(region(of), "b", of, own)], of)
    assert type_of(dataset, 0) == ("39607008", "SCT", "Lung")
    assert type_of(dataset, 1) == tuple(own)


def test_labels_without_a_code_have_private_codes_that_differ() -> None:
    of = classic()
    (dataset,) = made([Mask(region(of), "Cyst wall", of), Mask(region(of), "Cyst", of)], of)
    first, second = type_of(dataset, 0), type_of(dataset, 1)
    assert (first[1:], second[1:]) == (("99GATEWAY", "Cyst wall"), ("99GATEWAY", "Cyst"))
    assert first[0] != second[0]
    assert dataset.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99GATEWAY"


@pytest.mark.parametrize(
    ("code", "category"),
    [
        (codes.SCT.Liver, "Anatomical Structure"),
        (codes.SCT.Neoplasm, "Morphologically Abnormal Structure"),
        (codes.SCT.Blood, "Tissue"),
        (None, "Spatial and Relational Concept"),
    ],
)
def test_the_category_is_that_of_the_code(code, category: str) -> None:
    of = single()
    (dataset,) = made([Mask(region(of), "x", of, code)], of)
    assert dataset.SegmentSequence[0].SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == category


def test_a_segment_names_the_algorithm_and_its_version() -> None:
    of = single()
    (dataset,) = made([Mask(region(of), "x", of)], of)
    algorithm = dataset.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("Lung nodules", "1.2.0")
    assert dataset.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"


def test_a_label_of_a_hostile_text_is_valid_in_its_attribute() -> None:
    of = single()
    (dataset,) = made([Mask(region(of), "a\\b\n" + "ü" * 100, of)], of)
    assert dataset.SegmentSequence[0].SegmentLabel == "a b " + "ü" * 60


@pytest.mark.parametrize(
    "finding",
    [
        lambda of: Mask(np.zeros((1, 2, 3), bool), "x", of),
        lambda of: ProbabilityMask(np.full(of.shape, 1.5), "x", of),
        lambda of: LabelMask(np.zeros(of.shape, np.uint8), {}, of=of),
        lambda of: Mask(np.zeros(of.shape, bool), "x"),
    ],
    ids=["shape", "range", "no labels", "no images"],
)
def test_a_mask_that_dicom_cannot_represent_is_refused(finding) -> None:
    of = classic()
    with pytest.raises(AnswerInvalid):
        made([finding(of)], of)


def test_a_picture_of_a_heatmap_stands_in_where_no_map_may_be() -> None:
    of = file_image("examples_rgb_color.dcm")
    heat = region(of).astype(np.uint8) * 9
    (dataset,) = made([Heatmap(heat, "Heat", of)], of)
    assert dataset.SOPClassUID == SecondaryCaptureImageStorage
    np.testing.assert_array_equal(dataset.pixel_array, heat)
