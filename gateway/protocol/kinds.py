"""The table: what each ``binary_type`` of protocol 1.0 is on the wire, and what must hold of it."""

from dataclasses import dataclass
from typing import Any

from gateway.protocol.buffers import Check, fills_its_shape, is_dicom_file, stays_within_its_labels, uint8_or_bool

BINARY = "application/binary"
DICOM = "application/dicom"


@dataclass(frozen=True)
class Kind:
    """One row: a media type, the members that its entry in ``parts`` needs, and the checks of its buffer, in order."""

    media_type: str
    requires: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    is_mask: bool = False

    @property
    def is_dicom(self) -> bool:
        """Whether the part is a DICOM file (PS3.10 7.1)."""
        return self.media_type == DICOM


def _mask(from_float: str, *more: Check, requires: tuple[str, ...] = ()) -> Kind:
    """A row for a uint8 mask; ``from_float`` is the conversion to advise for an array of floats."""
    checks = (uint8_or_bool(from_float), fills_its_shape, *more)
    return Kind(BINARY, ("binary_data_shape", *requires), checks, is_mask=True)


_SCALED = "(p * 255).round().astype(numpy.uint8) for p from 0 to 1"
_DICOM_FILE = Kind(DICOM, checks=(is_dicom_file,))

KINDS: dict[str, Kind] = {
    "probability_mask": _mask(_SCALED),
    "heatmap": _mask(_SCALED),
    "boolean_mask": _mask("p >= 0.5 for probabilities p"),
    "numeric_label_mask": _mask(
        "labels.astype(numpy.uint8) for whole numbers from 0 to 255", stays_within_its_labels, requires=("label_map",)
    ),
    "dicom": _DICOM_FILE,
    "dicom_secondary_capture": _DICOM_FILE,
    "dicom_structured_report": _DICOM_FILE,
    "dicom_gsps": _DICOM_FILE,
}

UNKNOWN = Kind(BINARY)
"""How a part of an unknown type travels when the checks only warn."""


def kind_of(entry: Any) -> Kind:
    """The row for one entry of ``parts``, however malformed; UNKNOWN where there is none."""
    name = entry.get("binary_type") if isinstance(entry, dict) else None
    return KINDS.get(name, UNKNOWN) if isinstance(name, str) else UNKNOWN
