"""Which way an answer leaves: protocol 1.0, or DICOM objects where the request or its Accept header says so."""

from gateway.binding.parameters import OUTPUT
from gateway.contract import Request
from gateway.errors import BrokenBody, ParameterRefused
from gateway.wire.options import parse_options_header

JSON_DOOR, DICOM = "json", "dicom"
DICOM_TYPE = "application/dicom"


def door(request: Request) -> str:
    """``dicom`` or ``json``; the request's own word wins over its Accept. Raises ParameterRefused for another word."""
    word = request.json.get(OUTPUT)
    if word is None:
        return DICOM if accepts_dicom(request.accept) else JSON_DOOR
    if word not in (JSON_DOOR, DICOM):
        raise ParameterRefused([(f"/{OUTPUT}", f"{OUTPUT} should be {JSON_DOOR} or {DICOM}.")])
    return str(word)


def accepts_dicom(accept: str) -> bool:
    """Whether an Accept header (RFC 9110 12.5.1) names ``application/dicom``, alone or as the type of related parts."""
    for item in accept.split(","):
        try:
            media_type, options = parse_options_header(item)
        except BrokenBody:  # a preference that cannot be read is none
            continue
        named = media_type == DICOM_TYPE or options.get("type", "").lower() == DICOM_TYPE
        if named and options.get("q", "1").strip("0.") != "":
            return True
    return False
