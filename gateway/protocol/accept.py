"""The form of answer that a request's Accept header chooses (RFC 9110 12.5.1)."""

from gateway.errors import BrokenBody
from gateway.protocol.kinds import DICOM
from gateway.wire.headers import parse_options_header


def accepts_dicom(accept: str) -> bool:
    """Return True if an Accept header (RFC 9110 12.5.1) names ``application/dicom``, alone or as the type of related
    parts.
    """
    for item in accept.split(","):
        try:
            media_type, options = parse_options_header(item)
        except BrokenBody:  # a preference that cannot be read is none
            continue
        named = media_type == DICOM or options.get("type", "").lower() == DICOM
        if named and options.get("q", "1").strip("0.") != "":
            return True
    return False
