"""Units of measurements as UCUM codes (PS3.16 7.2.2): checked by the grammar of UCUM over the units of medicine."""

import re
from difflib import get_close_matches

from pydicom.sr.codedict import codes

from gateway.contract.findings import Code
from gateway.errors import AnswerInvalid

SCHEME = "UCUM"
LONGEST = 64
"""Characters of a code that are read; the longest of DICOM's own has 27."""

_PREFIX = "(?:da|[YZEPTGMkhdcmunpfa])?"
_METRIC = (
    "mol|rad|sr|cd|Hz|Pa|Ohm|Wb|Cel|lm|lx|Bq|Gy|Sv|Ci|bar|eV|eq|osm|kat|cal|dyn|erg|"
    r"m\[Hg\]|m\[H2O\]|\[iU\]|\[IU\]|[mgsKCNJWAVFSTHlLtuBRGPU]"
)
_OTHER = (
    r"10\*|10\^|\[(?:ppth|ppm|ppb|pptr|hnsf'U|wood'U|arb'U|PRU|Ch|diop|pH|in_i|ft_i|mi_i|lb_av|oz_av|degF)\]|"
    "deg|min|wk|mo|h|d|a|%|ppm|diop"
)
_NOTE = r"\{[\x21-\x7a|~]*\}"
_FACTOR = rf"(?:(?:{_OTHER}|{_PREFIX}(?:{_METRIC}))(?:[+-]?\d+)?(?:{_NOTE})?|{_NOTE}|\d+)"
_TERM = re.compile(rf"/?{_FACTOR}(?:[./]{_FACTOR})*")

MEANT = {
    **dict.fromkeys(("HU", "Hounsfield", "Hounsfield units"), "[hnsf'U]"),
    **dict.fromkeys(("cc", "ccm"), "cm3"),
    **dict.fromkeys(("percent", "pct", "per cent"), "%"),
    **dict.fromkeys(("SUV", "SUVbw"), "g/ml{SUVbw}"),
    **dict.fromkeys(("px", "pixel", "pixels"), "{pixels}"),
    **dict.fromkeys(("voxel", "voxels"), "{voxels}"),
    **dict.fromkeys(("degree", "degrees", "°"), "deg"),
    **dict.fromkeys(("sec", "second", "seconds"), "s"),
    **dict.fromkeys(("minute", "minutes"), "min"),
    **dict.fromkeys(("hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("week", "weeks"), "wk"),
    **dict.fromkeys(("month", "months"), "mo"),
    **dict.fromkeys(("year", "years"), "a"),
    **dict.fromkeys(("millimeter", "millimeters", "millimetre", "millimetres"), "mm"),
    **dict.fromkeys(("centimeter", "centimeters", "centimetre", "centimetres"), "cm"),
    **dict.fromkeys(("milliliter", "milliliters", "millilitre", "millilitres"), "ml"),
    "°C": "Cel",
    "mmHg": "mm[Hg]",
    "bpm": "/min",
}
"""What people write, and the code of what they mean."""
_SIGNS = str.maketrans({"²": "2", "³": "3", "µ": "u", "μ": "u", "·": ".", "^": None})

_MEANINGS = {code.value: code.meaning for code in (getattr(codes.UCUM, name) for name in codes.UCUM.dir())}
"""The codes of DICOM's own tables, which name some units as UCUM does not: ``10-6.mm2/s``."""


def unit_code(unit: str) -> Code:
    """Return the code of a unit as people write it: ``HU``, ``cc``, ``mm²``, ``mg/ml``. Raises AnswerInvalid."""
    value = MEANT.get(unit) or unit.translate(_SIGNS)
    if not is_unit(value):
        near = get_close_matches(unit[:LONGEST], [*_MEANINGS, *MEANT], n=1, cutoff=0.5)
        best = MEANT.get(near[0], near[0]) if near else ""
        hint = f"the nearest is {best}" if best else "examples are mm, ml and %"
        raise AnswerInvalid(
            "",
            f"A unit of a measurement is not a UCUM code (https://ucum.org); {hint}. "
            "Give a code of UCUM, or an empty text for a number without a unit.",
        )
    return Code(value, SCHEME, _MEANINGS.get(value, value))


def is_unit(value: str) -> bool:
    """Return True for a code of UCUM, or of DICOM's tables."""
    return value in _MEANINGS or (len(value) <= LONGEST and _TERM.fullmatch(value) is not None)
