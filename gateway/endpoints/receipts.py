"""The receipt of an answer, in its head: for the request whose ``Prefer`` field asks for one (RFC 7240)."""

from collections.abc import Callable
from typing import Any

from gateway.observe.audit.receipts import HEADER, PREFERENCE, header_of, is_wanted, receipt_of
from gateway.observe.outcomes import Outcome

RECEIVED = "gateway.received"
"""The time of receipt in an environ, where a replay in this process sets it; no client can."""


def receipt_headers(
    environ: dict[str, Any], outcome: Callable[[], Outcome], *, algorithm: str, key: bytes | None = None
) -> dict[str, str]:
    """The fields that carry the receipt of an answer; none where the request asked for none.

    ``outcome`` is called where one is wanted, and must know the output's digest: an answer with a receipt is hashed
    before its head is sent, not beside it.
    """
    if not is_wanted(environ.get("HTTP_PREFER", "")):
        return {}
    receipt = receipt_of(outcome(), algorithm=algorithm, accept=_accepted(environ.get("HTTP_ACCEPT", "")), key=key)
    return {HEADER: header_of(receipt), "Preference-Applied": PREFERENCE}


def _accepted(accept: str) -> str:
    from gateway.binding.doors import DICOM_TYPE, accepts_dicom  # brings pydantic, which a plain service spares

    return DICOM_TYPE if accepts_dicom(accept) else ""
