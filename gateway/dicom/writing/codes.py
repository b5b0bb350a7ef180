"""Coded concepts by scheme and name, such as ``codes.SCT.Lung``: DICOM's own, SNOMED CT and more (PS3.16)."""

import re

from pydicom.sr.codedict import codes

from gateway.contract.findings import Code
from gateway.dicom.writing.units import SCHEME, is_unit, unit_code
from gateway.errors import AnswerInvalid

__all__ = ["checked", "codes"]

SCTID = re.compile("[1-9][0-9]{5,17}")
SHORT = 16
"""Characters of a Coding Scheme Designator (SH, PS3.5 6.2)."""


def checked(code: Code) -> Code:
    """Return a code that an object may carry. Raises AnswerInvalid for an incomplete or mistyped one."""
    value, scheme, meaning = map(str, code)
    if not (value and scheme and meaning) or len(scheme) > SHORT or "\\" in value + scheme:
        raise AnswerInvalid("", "A code should have a value, a scheme of at most 16 characters, and a meaning.")
    if scheme == SCHEME and not is_unit(value):
        raise AnswerInvalid("", f"A code of the scheme UCUM is not one of UCUM; {_unit_meant(value)}.")
    if scheme == "SCT" and not SCTID.fullmatch(value):
        raise AnswerInvalid("", "A code of the scheme SCT should be a number of 6 to 18 digits.")
    return code


def _unit_meant(value: str) -> str:
    try:
        return f"it may be {unit_code(value).value}"
    except AnswerInvalid:
        return "see https://ucum.org"
