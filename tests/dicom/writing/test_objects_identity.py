"""The identity of an object: its author, study and time; the same input makes the same bytes."""

import hashlib
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence

from gateway import Classification, Conformance, Mask, SecondaryCapture, StructuredReport
from gateway.dicom.volumes.study import study
from gateway.dicom.writing.objects import objects
from gateway.errors import AnswerInvalid
from tests.dicom.volumes.volume_series import parts, series
from tests.dicom.writing.object_cases import (
    LATER,
    PROVENANCE,
    VOLUMES,
    classic,
    enhanced,
    every_kind,
    file_image,
    made,
    region,
    written,
)
from tests.examples import examples

pytestmark = pytest.mark.heavy


def uids(datasets: list[Dataset]) -> list[str]:
    return [uid for each in datasets for uid in (each.SOPInstanceUID, each.SeriesInstanceUID)]


@pytest.mark.parametrize("kind", VOLUMES)
def test_the_same_request_gives_the_same_bytes(kind: str) -> None:
    of = VOLUMES[kind]()
    assert written(every_kind(of), of) == written(every_kind(of), of)


def test_another_time_of_receipt_changes_times_but_no_uid() -> None:
    of = classic()
    first, later = made(every_kind(of), of), made(every_kind(of), of, LATER)
    assert uids(first) == uids(later)
    assert {each.InstanceCreationDate for each in later} == {"20260305"}


@pytest.mark.parametrize(
    "change",
    [
        {"input_digest": "d" * 64},
        {"model_name": "Other"},
        {"model_version": "1.2.1"},
        {"parameters_digest": "d" * 64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_origin_gives_other_uids(change: dict[str, str]) -> None:
    of = classic()
    ours, others = made(every_kind(of), of), made(every_kind(of), of, replace(PROVENANCE, **change))
    assert not set(uids(ours)) & set(uids(others))


def test_every_object_of_an_answer_has_uids_of_its_own() -> None:
    of = classic()
    twins = [SecondaryCapture(np.zeros((3, 3), np.uint8), "Same")] * 2
    found = uids(made([*every_kind(of), *twins], of))
    assert len(set(found)) == len(found)
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in found)


def test_another_content_gives_other_uids() -> None:
    of = classic()
    voxels = region(of)
    moved = voxels.copy()
    moved[-1, -1, -1] ^= True
    ours = uids(made([Mask(voxels, "x", of)], of))
    for other in (Mask(moved, "x", of), Mask(voxels, "y", of)):
        assert not set(ours) & set(uids(made([other], of)))


@settings(deadline=None, max_examples=examples(20))
@given(names=st.lists(st.text(min_size=1), unique=True, min_size=2, max_size=2))
def test_labels_that_differ_give_uids_that_differ(names: list[str]) -> None:
    of = file_image("CT_small.dcm")
    first, second = (
        uids(objects([Classification({name: 1})], source=of.instances, provenance=PROVENANCE)) for name in names
    )
    assert not set(first) & set(second)


def test_the_patient_and_the_study_are_those_of_the_source() -> None:
    of = file_image("CT_small.dcm")
    header = of.header
    for each in made(every_kind(of), of):
        for keyword in (
            "PatientName",
            "PatientID",
            "PatientSex",
            "PatientAge",
            "StudyInstanceUID",
            "StudyDate",
            "StudyID",
        ):
            assert each[keyword].value == header[keyword].value, keyword
        assert each.SeriesInstanceUID != header.SeriesInstanceUID


def test_a_study_without_a_patient_gives_objects_with_empty_attributes() -> None:
    of = study(parts(series(2))).series[0].volume()
    for each in made(every_kind(of), of):
        assert each["StudyDate"].is_empty
        assert each["AccessionNumber"].is_empty


def test_the_equipment_names_gateway_model_version_and_input() -> None:
    of = classic()
    for each in made(every_kind(of), of):
        (equipment,) = each.ContributingEquipmentSequence
        assert (equipment.Manufacturer, equipment.ManufacturerModelName) == ("gateway", "Lung nodules")
        assert equipment.SoftwareVersions == ["1.2.0", "0.1.0"]
        assert equipment.ContributionDateTime == "20260304050607.000890+0000"
        for digest in ("a" * 64, "b" * 64, "c" * 64):
            assert digest in equipment.ContributionDescription


def test_content_is_marked_as_research_unless_the_model_is_not() -> None:
    of = classic()
    assert {each.ContentQualification for each in made(every_kind(of), of)} == {"RESEARCH"}
    product = made(every_kind(of), of, replace(PROVENANCE, research=False))
    assert {each.ContentQualification for each in product} == {"PRODUCT"}
    assert not any("research" in each.ContributingEquipmentSequence[0].ContributionDescription for each in product)


def test_times_are_of_the_zone_that_the_study_states() -> None:
    slices = series(2)
    for each in slices:
        each.TimezoneOffsetFromUTC = "-0630"
    of = study(parts(slices)).series[0].volume()
    (dataset,) = made([Mask(region(of), "x", of)], of)
    assert (dataset.ContentDate, dataset.ContentTime) == ("20260303", "223607.000890")
    assert dataset.TimezoneOffsetFromUTC == "-0630"


def test_times_are_those_of_receipt() -> None:
    of = classic()
    received = PROVENANCE.received.astimezone(timezone(timedelta(hours=2)))
    (dataset,) = made([Mask(region(of), "x", of)], of, replace(PROVENANCE, received=received))
    assert (dataset.ContentTime, dataset.SeriesTime) == ("070607.000890", "070607.000890")


def test_no_date_of_the_clock_is_left() -> None:
    of = classic()
    known = {"", "20200101", "20260304"}
    assert {value for each in made(every_kind(of), of) for value in dates(each)} <= known


def dates(dataset: Dataset) -> list[str]:
    found = []
    for element in dataset:
        if isinstance(element.value, DicomSequence):
            found += [value for item in element.value for value in dates(item)]
        elif element.VR in ("DA", "DT"):
            found.append(str(element.value or "")[:8])
    return found


def test_a_name_in_another_character_set_is_the_same_name() -> None:
    slices = series(1)
    slices[0].SpecificCharacterSet, slices[0].PatientName = "ISO_IR 100", "Müller^Jörg"
    of = study(parts(slices)).series[0].volume()
    (dataset,) = made([Mask(region(of), "肺", of)], of)
    assert dataset.PatientName == "Müller^Jörg"
    assert dataset.SegmentSequence[0].SegmentLabel == "肺"


def test_a_finished_dataset_is_passed_on_as_it_is() -> None:
    of = classic()
    report, capture = Dataset(), Dataset()
    findings: list[Any] = [StructuredReport(report), SecondaryCapture(capture), Conformance("Thin slices", True)]
    found = objects(findings, source=of.instances, provenance=PROVENANCE)
    assert [id(each) for each in found] == [id(capture), id(report)]


def test_nothing_found_is_no_object() -> None:
    assert made([], classic()) == []


def test_an_object_needs_a_study_to_belong_to() -> None:
    with pytest.raises(AnswerInvalid, match="study"):
        objects([Classification({"a": 1})], source=[], provenance=PROVENANCE)


def test_the_source_is_left_as_it_was() -> None:
    of = enhanced()
    before = [hashlib.sha256(one.header.to_json().encode()).digest() for one in of.instances]
    made(every_kind(of), of)
    assert [hashlib.sha256(one.header.to_json().encode()).digest() for one in of.instances] == before
