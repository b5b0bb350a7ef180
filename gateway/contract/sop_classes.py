"""The kinds of DICOM object that an answer may carry, by their SOP Class (PS3.4 B.5)."""

from typing import NamedTuple


class ObjectKind(NamedTuple):
    """A kind of object: the stem of its files' names, its own name, and its ``binary_type`` in protocol 1.0."""

    stem: str
    name: str
    binary_type: str = "dicom"


SEGMENTATION = ObjectKind("seg", "segmentation")
REPORT = ObjectKind("sr", "structured report", "dicom_structured_report")
PRESENTATION = ObjectKind("gsps", "presentation state", "dicom_gsps")
PARAMETRIC_MAP = ObjectKind("pm", "parametric map")
CAPTURE = ObjectKind("sc", "secondary capture", "dicom_secondary_capture")
OTHER = ObjectKind("dicom", "DICOM object")

STORAGE = "1.2.840.10008.5.1.4.1.1."
LABEL_MAP_STORAGE = f"{STORAGE}66.7"
"""Label Map Segmentation Storage, newer than pydicom's table of UIDs."""

CLASSES = {
    "66.4": SEGMENTATION,
    "66.7": SEGMENTATION,
    "30": PARAMETRIC_MAP,
    "7": CAPTURE,
    "7.": CAPTURE,
    "88.": REPORT,
    "11.": PRESENTATION,
}
"""Ends of SOP Class UIDs behind ``STORAGE``; one that closes with a dot stands for all that begin with it."""

_KINDS = (*CLASSES.values(), OTHER)
BY_STEM = {kind.stem: kind for kind in _KINDS}
DECLARED = {kind.binary_type: kind for kind in _KINDS if kind.binary_type != OTHER.binary_type}
"""The kinds with a ``binary_type`` of their own."""


def object_kind(sop_class_uid: str) -> ObjectKind:
    """Return the kind of an object; OTHER for an SOP Class that is not in the table."""
    end = sop_class_uid.removeprefix(STORAGE)
    return CLASSES.get(end) or CLASSES.get(f"{end.partition('.')[0]}.", OTHER)
