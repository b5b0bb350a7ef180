"""A label mask as a label map SEG: read back voxel by voxel, and complete by the standard's own list.

dciodvfy of today does not know this SOP Class; a table of attributes stands in for it.
"""

import io
from datetime import UTC, datetime

import numpy as np
import pytest
from highdicom.seg import segread
from pydicom import Dataset

from gateway import Gateway, Label, LabelMask, Volume, codes
from gateway.contract.requests import Provenance
from gateway.contract.sop_classes import LABEL_MAP_STORAGE
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.reading.instances import read_instance
from gateway.dicom.samples import phantom
from gateway.dicom.volumes.study import Volume as Stack
from gateway.dicom.volumes.study import volume
from gateway.dicom.writing.objects import objects
from gateway.errors import AnswerInvalid
from gateway.testing import client

PROVENANCE = Provenance(
    model_name="labels",
    model_version="1",
    input_digest="a" * 64,
    parameters_digest="b" * 64,
    received=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)
FILES = [convert_dataset_to_bytes(dataset) for dataset in phantom.datasets(slices=8, size=32)]

# Types 1 and 2 of the modules of the Label Map Segmentation IOD (PS3.3 A.51), as far as each object has them.
REQUIRED = {
    "General Series": "Modality SeriesInstanceUID SeriesNumber",
    "Frame of Reference": "FrameOfReferenceUID PositionReferenceIndicator",
    "Enhanced Equipment": "Manufacturer ManufacturerModelName DeviceSerialNumber SoftwareVersions",
    "Image Pixel": "Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation SamplesPerPixel PixelData",
    "Segmentation Image": "ImageType SegmentationType SegmentSequence ContentLabel ContentDescription "
    "ContentCreatorName LossyImageCompression",
    "Multi-frame": "NumberOfFrames SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence",
    "Dimension": "DimensionOrganizationSequence DimensionIndexSequence",
    "SOP Common": "SOPClassUID SOPInstanceUID",
    "Common Instance Reference": "ReferencedSeriesSequence",
}


@pytest.fixture(scope="module")
def stack() -> Stack:
    return volume([read_instance(io.BytesIO(data)) for data in FILES])


def labelled(stack: Stack) -> LabelMask:
    array = np.zeros(stack.shape, np.uint8)
    array[2:4, 5:20, 5:20], array[3:6, 22:30, 3:30] = 3, 7
    return LabelMask(array, {7: "Bone", 3: Label("Lung", codes.SCT.Lung)}, of=stack)


def made(mask: LabelMask, stack: Stack) -> Dataset:
    (dataset,) = objects([mask], source=stack.instances, provenance=PROVENANCE, label_maps=True)
    return dataset


def test_each_voxel_is_read_back_on_its_source_frame(stack: Stack) -> None:
    mask = labelled(stack)
    read = segread(io.BytesIO(convert_dataset_to_bytes(made(mask, stack))))
    voxels = read.get_pixels_by_source_instance(
        [instance.sop_instance_uid for instance, _ in stack.frames],
        combine_segments=True,
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )
    assert np.array_equal(voxels, np.where(mask.array == 3, 1, np.where(mask.array == 7, 2, 0)))
    assert [str(one.SegmentLabel) for one in read.SegmentSequence][1:] == ["Lung", "Bone"]
    assert read.SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Lung"


def test_every_attribute_that_the_standard_demands_is_there(stack: Stack) -> None:
    dataset = made(labelled(stack), stack)
    assert dataset.SOPClassUID == LABEL_MAP_STORAGE
    assert (dataset.SegmentationType, dataset.BitsAllocated, dataset.PhotometricInterpretation) == (
        "LABELMAP",
        8,
        "MONOCHROME2",
    )
    missing = [f"{module}: {one}" for module, names in REQUIRED.items() for one in names.split() if one not in dataset]
    assert missing == []


def test_the_same_mask_gives_the_same_bytes_and_another_gives_another_object(stack: Stack) -> None:
    one, again, other = labelled(stack), labelled(stack), labelled(stack)
    other.array[2, 5, 5] = 0
    assert convert_dataset_to_bytes(made(one, stack)) == convert_dataset_to_bytes(made(again, stack))
    assert made(one, stack).SOPInstanceUID != made(other, stack).SOPInstanceUID


def test_an_empty_mask_has_one_plane(stack: Stack) -> None:
    dataset = made(LabelMask(np.zeros(stack.shape, np.uint8), {1: "Lung"}, of=stack), stack)
    assert dataset.NumberOfFrames == 1
    assert not any(dataset.PixelData)


def test_a_mask_that_names_no_label_is_refused(stack: Stack) -> None:
    with pytest.raises(AnswerInvalid, match="names no label"):
        made(LabelMask(np.zeros(stack.shape, np.uint8), {}, of=stack), stack)


def test_a_model_that_declares_label_maps_answers_with_one(stack: Stack) -> None:
    app = Gateway(__name__)

    @app.model("/", label_maps=True)
    def tissue(ct: Volume) -> LabelMask:
        return LabelMask((ct.array > 300).astype(np.uint8), {1: "Bone"})

    answer = client(app).ask({"output": "dicom"}, [io.BytesIO(data) for data in FILES])
    assert segread(io.BytesIO(answer.buffers[0])).SegmentationType == "LABELMAP"
