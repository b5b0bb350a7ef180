"""Notices: objects in a patient's study which tell that a model has not analysed it, and why.

Without one, a study that was refused looks like a study without findings.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import BasicTextSRStorage

from gateway.contract.findings import SecondaryCapture
from gateway.contract.requests import Provenance
from gateway.dicom.drawing.render import SPACING, load_font, wrapped
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.reading.instances import Instance
from gateway.dicom.writing.checks import check
from gateway.dicom.writing.picture import secondary_capture
from gateway.dicom.writing.provenance import Stamp, code_of
from gateway.dicom.writing.report import document, observer

TITLE = "Not analysed"
WIDTH, SIZE, MARGIN = 768, 22, 32
"""Pixels: of the picture, of a font that can be read on a screen of 512, and of its border."""
LONGEST = 2_000
"""Characters of a reason in a notice: a screen full. A model may refuse with any number of sentences."""


class Cause(Enum):
    """Why a study was not analysed, with its words and its code (CID 6042)."""

    REFUSED = "it does not take it", codes.DCM.NotAttempted
    FAILED = "its analysis failed", codes.DCM.Failed


def notice(
    form: Literal["sr", "capture"], cause: Cause, reason: str, *, source: Sequence[Instance], provenance: Provenance
) -> bytes:
    """Return a Part 10 file that tells that the instances of ``source``, one at least, were not analysed.

    ``sr`` is a Basic Text SR that refers to them, ``capture`` a picture of the same text. ``reason`` is one sentence or
    several, without names of patients. The same arguments give the same bytes.
    """
    stamp = Stamp(provenance, source[0].header)
    text = _text(cause, reason, stamp)
    made = _report(cause, text, source, stamp) if form == "sr" else _picture(text, stamp)
    check(made, source)
    return convert_dataset_to_bytes(made)


def _text(cause: Cause, reason: str, stamp: Stamp) -> str:
    """Return the whole text, on one line."""
    words, _ = cause.value
    plain = " ".join("".join(one if one.isprintable() else " " for one in reason).split())
    shown = plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 3]}..."
    return (
        f"The model {stamp.model} {stamp.version} has not analysed this study: {words}. {shown} "
        "The absence of its findings is not a negative result."
    )


def _report(cause: Cause, text: str, source: Sequence[Instance], stamp: Stamp) -> Dataset:
    """Return a Basic Text SR; highdicom has an Enhanced SR alone, whose other value types are not used here."""
    from highdicom.sr import EnhancedSR

    dataset = document(EnhancedSR, _content(cause, text, stamp), source, stamp)
    dataset.SOPClassUID = BasicTextSRStorage
    return stamp.finish(dataset, TITLE)


def _content(cause: Cause, text: str, stamp: Stamp) -> Any:
    """Return the content: what observed, the status of its analysis (111065), and the text."""
    from highdicom.sr import (
        CodeContentItem,
        CodedConcept,
        ContainerContentItem,
        ContentSequence,
        LanguageOfContentItemAndDescendants,
        RelationshipTypeValues,
        TextContentItem,
    )

    contains = RelationshipTypeValues.CONTAINS
    root = ContainerContentItem(CodedConcept(*code_of(TITLE)))
    _, status = cause.value
    root.ContentSequence = ContentSequence(
        [
            *LanguageOfContentItemAndDescendants(CodedConcept("en", "RFC5646", "English")),
            *observer(stamp),
            CodeContentItem(codes.DCM.SummaryOfAnalyses, status, contains),
            TextContentItem(codes.DCM.Comment, text, contains),
        ]
    )
    return root


def _picture(text: str, stamp: Stamp) -> Dataset:
    """Return the text as white letters on black, uint8 of (row, column), as high as it needs to be."""
    lines = wrapped(text, SIZE, WIDTH - 2 * MARGIN)
    leading = round(SIZE * SPACING)
    height = 2 * MARGIN + (len(lines) + 2) * leading
    sheet = Image.new("L", (WIDTH, max(height, WIDTH // 2)))
    draw = ImageDraw.Draw(sheet)
    for row, line in enumerate([TITLE.upper(), "", *lines]):
        draw.text((MARGIN, MARGIN + row * leading), line, fill=255, font=load_font(SIZE))
    return secondary_capture(SecondaryCapture(np.asarray(sheet), TITLE), stamp)
