"""The table of ``binary_type`` in protocol 1.0: media type, checks, and the finding of each mask.

A new kind of mask is a row here, with its members both ways in ``mask_members``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.contract.findings import Heatmap, LabelMask, Mask, ProbabilityMask
from gateway.contract.requests import JSON
from gateway.protocol import mask_members
from gateway.protocol.buffers import Check, fills_its_shape, is_dicom_file, stays_within_its_labels, uint8_or_bool

BINARY = "application/binary"
DICOM = "application/dicom"


@dataclass(frozen=True)
class MaskForm:
    """A mask as an entry of ``parts``: the class of its finding, and its members beside shape and label."""

    finding: type
    write: Callable[[Any, JSON], JSON] = mask_members.write_nothing
    read: Callable[[JSON, JSON], dict[str, Any]] = mask_members.read_nothing


@dataclass(frozen=True)
class Kind:
    """A row of the table: a media type, the members that its entry in ``parts`` needs, and the checks of its buffer, in
    order.
    """

    media_type: str
    requires: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    form: MaskForm | None = None

    @property
    def is_mask(self) -> bool:
        """Return True if the part is an array on images."""
        return self.form is not None

    @property
    def is_dicom(self) -> bool:
        """Return True if the part is a DICOM file (PS3.10 7.1)."""
        return self.media_type == DICOM


def _mask(form: MaskForm, from_float: str, *more: Check, requires: tuple[str, ...] = ()) -> Kind:
    """Return the row of a uint8 mask; ``from_float`` is the conversion to advise for an array of floats."""
    checks = (uint8_or_bool(from_float), fills_its_shape, *more)
    return Kind(BINARY, ("binary_data_shape", *requires), checks, form)


_SCALED = "(p * 255).round().astype(numpy.uint8) for p from 0 to 1"
_CHANCE = MaskForm(ProbabilityMask, mask_members.write_threshold, mask_members.read_threshold)
_HEAT = MaskForm(Heatmap, mask_members.write_palette, mask_members.read_palette)
_LABELS = MaskForm(LabelMask, mask_members.write_labels, mask_members.read_labels)
_WHOLE = "labels.astype(numpy.uint8) for whole numbers from 0 to 255"

_DICOM_FILE = Kind(DICOM, checks=(is_dicom_file,))

KINDS: dict[str, Kind] = {
    "probability_mask": _mask(_CHANCE, _SCALED),
    "heatmap": _mask(_HEAT, _SCALED),
    "boolean_mask": _mask(MaskForm(Mask), "p >= 0.5 for probabilities p"),
    "numeric_label_mask": _mask(_LABELS, _WHOLE, stays_within_its_labels, requires=("label_map",)),
    "dicom": _DICOM_FILE,
    "dicom_secondary_capture": _DICOM_FILE,
    "dicom_structured_report": _DICOM_FILE,
    "dicom_gsps": _DICOM_FILE,
}

UNKNOWN = Kind(BINARY)
"""The row of a part of unknown type, which is sent when the checks only warn."""


def kind_of(entry: Any) -> Kind:
    """Return the row of one entry of ``parts``, however malformed; UNKNOWN where there is none."""
    name = entry.get("binary_type") if isinstance(entry, dict) else None
    return KINDS.get(name, UNKNOWN) if isinstance(name, str) else UNKNOWN
