"""Units become codes of UCUM, and what is none is refused before a DICOM object carries it."""

import pytest
from pydicom.sr.codedict import codes

from gateway.contract.findings import Code
from gateway.dicom.writing.codes import checked
from gateway.dicom.writing.provenance import code_of
from gateway.dicom.writing.units import MEANT, is_unit, unit_code
from gateway.errors import AnswerInvalid

MEANT_BY_PEOPLE = {
    "HU": "[hnsf'U]",
    "cc": "cm3",
    "cm³": "cm3",
    "mm^2": "mm2",
    "mm²": "mm2",
    "percent": "%",
    "SUV": "g/ml{SUVbw}",
    "µm": "um",
    "°C": "Cel",
    "mmHg": "mm[Hg]",
}


@pytest.mark.parametrize(("unit", "value"), MEANT_BY_PEOPLE.items())
def test_a_unit_as_people_write_it_becomes_its_code(unit: str, value: str) -> None:
    assert unit_code(unit)[:2] == (value, "UCUM")


def test_a_code_has_the_meaning_of_dicoms_table() -> None:
    assert unit_code("HU").meaning == codes.UCUM.HounsfieldUnit.meaning


VALID = [
    "mm",
    "cm3",
    "ml",
    "mL",
    "mg/dl",
    "mmol/L",
    "g/cm3",
    "kg/m2",
    "/min",
    "1/s",
    "Bq/ml",
    "10*3/ul",
    "{score}",
    "%{vol}",
    "kg.m/s2",
    "mm[Hg]",
    "1",
    "dB",
    "m.s-1",
]


@pytest.mark.parametrize("unit", [*VALID, *MEANT.values()])
def test_a_code_of_ucum_is_accepted(unit: str) -> None:
    assert is_unit(unit)


@pytest.mark.parametrize("name", codes.UCUM.dir())
def test_every_unit_of_dicoms_table_is_accepted(name: str) -> None:
    code = getattr(codes.UCUM, name)
    assert unit_code(code.value).value == code.value


INVALID = ["furlong", "MM", "mm mm", "mm/", "mm//s", "/", "..", "", "mm\n", "x" * 100_000, "m" * 64, "{" * 64, "{ö}"]


@pytest.mark.parametrize("unit", INVALID)
def test_a_text_that_is_no_unit_is_refused(unit: str) -> None:
    with pytest.raises(AnswerInvalid) as refusal:
        unit_code(unit)
    assert len(refusal.value.detail) < 300


@pytest.mark.parametrize(
    ("unit", "nearest"), [("HUU", "[hnsf'U]"), ("mm/", "mm"), ("percents", "%"), ("furlong", "mm")]
)
def test_a_refusal_names_the_nearest_code(unit: str, nearest: str) -> None:
    with pytest.raises(AnswerInvalid) as refusal:
        unit_code(unit)
    assert nearest in refusal.value.detail


@pytest.mark.parametrize(
    "code",
    [
        Code("HU", "UCUM", "Hounsfield unit"),
        Code("furlong", "UCUM", "furlong"),
        Code("Lung", "SCT", "Lung"),
        Code("", "SCT", "Lung"),
        Code("39607008", "", "Lung"),
        Code("39607008", "SCT", ""),
        Code("1", "a scheme of too many characters", "one"),
        Code("1\\2", "99LOCAL", "two values"),
    ],
)
def test_an_invalid_code_is_refused(code: Code) -> None:
    with pytest.raises(AnswerInvalid):
        code_of("", code)


@pytest.mark.parametrize(
    "code", [codes.SCT.Lung, codes.UCUM.Percent, codes.DCM.Device, Code("mine", "99LOCAL", "My own")]
)
def test_a_valid_code_is_accepted(code: Code) -> None:
    assert checked(Code(*code_of("", code))).value == code.value
