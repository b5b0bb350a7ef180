"""What a DICOM object is, by its SOP Class (PS3.4 B.5), and how its file is named."""

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gateway.dicom.reading.attributes import text
from gateway.dicom.reading.files import read_header
from gateway.errors import GatewayError


class ObjectKind(NamedTuple):
    """One kind of object: how files of it begin, and what it is called."""

    stem: str
    name: str


SEGMENTATION = ObjectKind("seg", "segmentation")
REPORT = ObjectKind("sr", "structured report")
PRESENTATION = ObjectKind("gsps", "presentation state")
PARAMETRIC_MAP = ObjectKind("pm", "parametric map")
CAPTURE = ObjectKind("sc", "secondary capture")
OTHER = ObjectKind("dicom", "DICOM object")

STORAGE = "1.2.840.10008.5.1.4.1.1."
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

DECLARED = {"dicom_secondary_capture": CAPTURE, "dicom_structured_report": REPORT, "dicom_gsps": PRESENTATION}
"""What a ``binary_type`` of protocol 1.0 says by itself; ``dicom`` says nothing."""

STEMS = "|".join(sorted({kind.stem for kind in (*CLASSES.values(), OTHER)}))
"""All stems, as alternatives of a regular expression."""


def kind_of(binary_type: str, data: bytes | memoryview) -> ObjectKind:
    """What one DICOM part of an answer is: as declared, else as the file says; OTHER where neither is known."""
    return DECLARED.get(binary_type) or _of_class(data)


def file_names(parts: Iterable[tuple[str, bytes | memoryview]]) -> Iterator[str]:
    """A name for each DICOM part, given by its ``binary_type`` and its bytes: ``seg_0``, ``sr_0``, ``seg_1`` ..."""
    counts = Counter[str]()
    for binary_type, data in parts:
        stem = kind_of(binary_type, data).stem
        yield f"{stem}_{counts[stem]}"
        counts[stem] += 1


def _of_class(data: bytes | memoryview) -> ObjectKind:
    try:
        uid = text(read_header(io.BytesIO(data)), "SOPClassUID")
    except GatewayError:  # a broken file is kept too
        return OTHER
    end = uid.removeprefix(STORAGE)
    return CLASSES.get(end) or CLASSES.get(f"{end.partition('.')[0]}.", OTHER)
