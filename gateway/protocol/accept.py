"""The form of answer that a request's Accept header chooses (RFC 9110 12.5.1)."""

from dataclasses import dataclass
from functools import lru_cache

from gateway.errors import BrokenBody, NotAcceptable
from gateway.protocol.kinds import DICOM
from gateway.protocol.media_ranges import ANY, MULTIPART, MediaRange, all_ranges, chosen_range
from gateway.wire.headers import parse_options_header

ZIP, JSON, PNG, NIFTI = "application/zip", "application/json", "image/png", "application/x-nifti"
FORMS = (MULTIPART, DICOM, ZIP, JSON, PNG, NIFTI)
"""The media types of answers, the preferred first: many clients accept anything beside JSON, and read parts."""
MASKS, RUN_LENGTHS, NIFTI_FILES = "masks", "rle", "nifti"
"""The parameter of a form that says how it has masks: ``rle`` in ``application/json``, ``nifti`` in an archive."""


@dataclass(frozen=True)
class AnswerForm:
    """The form of an answer: its media type, whether findings become DICOM objects, and how it has masks."""

    media_type: str = MULTIPART
    dicom: bool = False
    masks: str = ""


@lru_cache(256)  # a client sends the same field with each request
def answer_form(accept: str) -> AnswerForm:
    """Return the form that an Accept header prefers; ``multipart/related`` wherever it is preferred as much.

    A header that cannot be read, or only excludes, accepts everything else. Raises NotAcceptable for one that accepts
    no form.
    """
    ranges = all_ranges(accept)
    if not any(one.quality or one.media_type == ANY for one in ranges):
        ranges.append(MediaRange(ANY))
    chosen = {form: found for form in FORMS if (found := chosen_range(ranges, form)) is not None}
    best = max(chosen, key=lambda form: chosen[form].quality, default="")
    if not best or not chosen[best].quality:
        raise NotAcceptable(f"Answers are sent as {', '.join(FORMS)}; accept one of them.")
    dicom = best == DICOM or (best == MULTIPART and _names_dicom(accept))
    return AnswerForm(best, dicom, chosen[best].parameters.get(MASKS, "").lower())


def accepts_dicom(accept: str) -> bool:
    """Return True if an Accept header asks for DICOM objects: by the form that it prefers, or where that is of parts
    by ``application/dicom`` anywhere, alone or as the type of related parts.
    """
    try:
        return answer_form(accept).dicom
    except NotAcceptable:  # of a door that sends one form alone
        return _names_dicom(accept)


def _names_dicom(accept: str) -> bool:
    for item in accept.split(","):
        try:
            media_type, options = parse_options_header(item)
        except BrokenBody:  # a preference that cannot be read is none
            continue
        named = media_type == DICOM or options.get("type", "").lower() == DICOM
        if named and options.get("q", "1").strip("0.") != "":
            return True
    return False
