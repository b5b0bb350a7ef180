"""Which studies a rule takes: by sender, and by what its series state."""

import fnmatch
import io
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from gateway.dicom.reading.keywords import MAX_CHARACTERS, comparable_text, fault_of, texts
from gateway.routing.rule_matching import (
    SeriesTexts,
    StudySender,
    is_from,
    read_series,
    representatives,
    verdict,
)
from gateway.routing.rules import AttributeMatch, Rule, Sources
from tests.dicom.studies import image, uid

CT1 = StudySender("radiology", ("CT1",))
EVERYBODY = Sources(callers=("*",))


def rule(sources: Sources = EVERYBODY, **match: Sequence[str]) -> Rule:
    return Rule(
        "lungs", "/lungs", sources, tuple(AttributeMatch(name, tuple(values)) for name, values in match.items())
    )


def series(name: str, **words: str) -> SeriesTexts:
    return SeriesTexts(name, {keyword: (value,) for keyword, value in words.items()})


LUNG = series("1.1", Modality="CT", SeriesDescription="Thorax LUNG 1.0")
SOFT = series("1.2", Modality="CT", SeriesDescription="Thorax soft")
DOSE = series("1.3", Modality="SR", SeriesDescription="Lung dose")


@pytest.mark.parametrize(
    ("sources", "known"),
    [
        (Sources(titles=("CT1",)), True),
        (Sources(titles=("CT?",)), True),
        (Sources(titles=("MR*", "CT2")), False),
        (Sources(titles=("ct1",)), False),
        (Sources(callers=("radiology",)), True),
        (Sources(callers=("radio",)), False),
        (Sources(titles=("MR1",), callers=("rad*",)), True),
        (Sources(), False),
    ],
)
def test_a_sender_is_known_by_its_title_or_by_its_caller(sources: Sources, known: bool) -> None:
    assert is_from(CT1, sources) is known


def test_a_study_over_http_has_no_title_and_an_anonymous_caller_has_no_name() -> None:
    assert not is_from(StudySender("radiology"), Sources(titles=("*",)))
    assert is_from(StudySender(""), Sources(callers=("*",)))
    assert not is_from(StudySender(""), Sources(callers=("?*",)))


def test_the_model_receives_the_series_that_meet_all_conditions() -> None:
    wanted = rule(Modality=["CT"], SeriesDescription=["*lung*"])
    assert verdict(wanted, CT1, [SOFT, LUNG, DOSE]).series == ("1.1",)
    assert verdict(rule(Modality=["CT"]), CT1, [SOFT, LUNG, DOSE]).series == ("1.2", "1.1")
    assert verdict(rule(Modality=["MR", "SR"]), CT1, [SOFT, LUNG, DOSE]).series == ("1.3",)
    assert verdict(rule(), CT1, [SOFT, DOSE]).series == ("1.2", "1.3")


def test_conditions_that_are_met_by_different_series_are_not_met() -> None:
    found = verdict(rule(Modality=["CT"], SeriesDescription=["*lung*"]), CT1, [SOFT, DOSE])
    assert not found.taken
    assert "Each is found" in found.reason


def test_a_reason_names_each_condition_that_no_series_meets_and_no_value_of_the_study() -> None:
    found = verdict(rule(Modality=["MR"], SeriesDescription=["*BRAIN*", "*HEAD*"]), CT1, [LUNG, SOFT])
    assert found.reason == (
        "None of 2 series has Modality 'MR'. None of 2 series has SeriesDescription '*BRAIN*' or '*HEAD*'."
    )
    assert verdict(rule(Sources(titles=("MR1",))), CT1, [LUNG]).reason == "It takes studies of other senders."
    assert not verdict(rule(), CT1, []).taken


def test_an_absent_attribute_is_empty_text() -> None:
    assert verdict(rule(BodyPartExamined=[""]), CT1, [LUNG]).taken
    assert verdict(rule(BodyPartExamined=["*"]), CT1, [LUNG]).taken
    assert not verdict(rule(BodyPartExamined=["?*"]), CT1, [LUNG]).taken


LETTERS = st.text("ab[!].\\^$", max_size=8)


@given(st.text("ab[!].*?\\", max_size=8), LETTERS)
def test_wildcards_are_those_of_dicom_alone(pattern: str, value: str) -> None:
    """The library's own translation is the oracle, with its sets of characters taken out of the pattern."""
    expected = fnmatch.fnmatchcase(value, pattern.replace("[", "[[]"))
    assert is_from(StudySender(value), Sources(callers=(pattern,))) is expected


def test_a_pattern_of_many_asterisks_takes_no_time() -> None:
    began = time.thread_time()
    assert not is_from(StudySender("a" * MAX_CHARACTERS), Sources(callers=("*a" * 30 + "*b",)))
    assert time.thread_time() - began < 5  # and not as long as this process may live


@given(st.permutations(range(12)))
def test_one_instance_speaks_for_its_series_whatever_came_first(order: Sequence[int]) -> None:
    class One:
        def __init__(self, number: int) -> None:
            self.sop_instance_uid, self.series_instance_uid = f"1.2.{number // 2 + 1}", f"1.{number % 2}"

    found = {one.series_instance_uid: one.sop_instance_uid for one in representatives(map(One, order))}
    assert found == {"1.0": "1.2.1", "1.1": "1.2.1"}


def file_of(dataset: Dataset) -> io.BytesIO:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    file.seek(0)
    return file


def test_series_are_read_with_what_the_rules_name_and_nothing_else() -> None:
    ct = image(series="lung")
    ct.SeriesDescription, ct.ImageType = "Thorax ", ["ORIGINAL", "PRIMARY"]
    rules = [rule(SeriesDescription=["x"]), rule(ImageType=["PRIMARY"], BodyPartExamined=["CHEST"])]
    (found,) = read_series([file_of(ct)], rules)
    assert found == SeriesTexts(
        uid("lung"),
        {"SeriesDescription": ("Thorax",), "ImageType": ("ORIGINAL", "PRIMARY"), "BodyPartExamined": ("",)},
    )
    assert verdict(rules[0], CT1, [found]).reason
    assert verdict(rule(ImageType=["primary"]), CT1, [found]).taken


def test_a_series_of_any_statement_is_read_and_one_without_a_header_is_left_out() -> None:
    odd = image(series="odd", frames=2)
    odd.NumberOfFrames = -2
    odd.SeriesDescription = "Lung"
    broken = file_of(image(series="broken")).getvalue()[:200] + b"\xff" * 50
    found = read_series([io.BytesIO(broken), file_of(odd)], [rule(SeriesDescription=["lung"])])
    assert [one.uid for one in found] == [uid("odd")]
    assert verdict(rule(SeriesDescription=["lung"]), CT1, found).taken


def coded(**words: str) -> Dataset:
    item = Dataset()
    for keyword, value in words.items():
        setattr(item, keyword, value)
    return item


def test_an_attribute_within_a_sequence_has_the_values_of_all_items() -> None:
    header = Dataset()
    header.ProcedureCodeSequence = [coded(CodeValue="RPID1"), coded(CodeValue="RPID2"), coded(CodeMeaning="x")]
    assert texts(header, "ProcedureCodeSequence.CodeValue") == ("RPID1", "RPID2")
    assert texts(header, "RequestAttributesSequence.RequestedProcedureID") == ("",)


def test_numbers_are_compared_as_numbers_and_texts_of_digits_as_texts() -> None:
    header = Dataset()
    header.SliceThickness, header.SeriesNumber, header.Rows, header.StudyID = "1.00", "007", 512, "007"
    header.PixelSpacing = ["0.50", "5e-1"]
    assert texts(header, "SliceThickness") == (comparable_text("SliceThickness", "1"),) == ("1",)
    assert texts(header, "SeriesNumber") == ("7",)
    assert texts(header, "Rows") == ("512",)
    assert texts(header, "PixelSpacing") == ("0.5", "0.5")
    assert texts(header, "StudyID") == ("007",)
    assert comparable_text("SliceThickness", "1*") == "1*"


def test_what_cannot_be_read_is_empty_and_what_is_long_is_cut() -> None:
    header = Dataset()
    header.add_new("SeriesDescription", "OB", b"\xff\x00")
    header.add_new("ProcedureCodeSequence", "LO", "no sequence")
    header.ImageComments = "x" * 10_000
    header.StudyDescription = "Scha\u0308del"
    assert texts(header, "ProcedureCodeSequence.CodeValue") == ("",)
    assert texts(header, "ImageComments") == ("x" * MAX_CHARACTERS,)
    assert texts(header, "StudyDescription") == ("Sch\u00e4del",)
    assert len(texts(header, "SeriesDescription")) == 1


@pytest.mark.parametrize(
    ("keyword", "word"),
    [
        ("Modality", ""),
        ("ProcedureCodeSequence.CodeValue", ""),
        ("Modalty", "Modality is"),
        ("ProcedureCodeSequence", "ProcedureCodeSequence.CodeValue"),
        ("ProcedureCodeSequence.CodeVal", "CodeValue is"),
        ("ModalitiesInStudy", "Modality is one"),
        ("NumberOfStudyRelatedInstances", "and not of instances."),
        ("PixelData", "no text"),
        ("Modality.CodeValue", "no keyword"),
        ("", "no keyword"),
        ("00080060", "no keyword"),
    ],
)
def test_a_keyword_of_a_rule_names_text(keyword: str, word: str) -> None:
    assert word in fault_of(keyword)
    assert bool(fault_of(keyword)) is bool(word)
