"""Receipts: what an answer was made of, in digests, signed; enough to make it again and compare."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from gateway.observe.audit.canonical import canonical, sign, signed
from gateway.observe.audit.records import identity_of
from gateway.observe.outcomes import Outcome

HEADER = "X-Gateway-Receipt"
"""The field of an answer that carries its receipt: base64url (RFC 4648 5) of canonical JSON, about 1.2 KB.

A field and not a part, since existing viewers take parts by their place.
"""
PREFERENCE = "receipt"
"""What a request puts into its ``Prefer`` field (RFC 7240) to be given one."""
LONGEST = 16 * 1024
"""Bytes of a receipt that is read."""

_TEXTS = ("algorithm", "gateway", "input", "output", "parameters", "request", "route", "time")
_MODEL_TEXTS = ("digest", "name", "version", "weights")

Receipt = dict[str, Any]


def receipt_of(outcome: Outcome, *, algorithm: str, accept: str = "", key: bytes | None = None) -> Receipt:
    """The receipt of an answer. It holds no parameter, no name of a caller and nothing of a patient.

    ``algorithm`` is that of the input's and the output's digest. ``accept`` is the media type that the answer was made
    for, where an Accept field chose it: ``application/dicom``, else "". ``key`` signs it.
    """
    receipt = {**identity_of(outcome, algorithm), "accept": accept}
    return receipt if key is None else {**receipt, "mac": sign(canonical(receipt), key)}


def header_of(receipt: Receipt) -> str:
    """A receipt as the value of a field."""
    return base64.urlsafe_b64encode(canonical(receipt)).rstrip(b"=").decode("ascii")


def read_receipt(text: str) -> Receipt:
    """Read a receipt from JSON or from the value of a field. Raises ValueError with a sentence."""
    if len(text) > LONGEST:
        raise ValueError("This is longer than a receipt.")
    try:
        data = text.strip()
        if not data.startswith("{"):
            data = base64.b64decode(data + "=" * (-len(data) % 4), altchars=b"-_", validate=True).decode()
        receipt = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("This is no receipt: neither JSON nor base64url of JSON.") from None
    if not isinstance(receipt, dict) or receipt.get("v") != 1:
        raise ValueError("This is no receipt of version 1.")
    model = receipt.get("model")
    named = isinstance(model, dict) and _texts(model, _MODEL_TEXTS)
    if not (named and _texts(receipt, _TEXTS) and isinstance(receipt.get("deterministic"), bool)):
        raise ValueError("This receipt lacks a member, or has one of another type.")
    return receipt


def is_signed(receipt: Receipt, key: bytes) -> bool:
    """Return True if ``key`` signed the whole receipt."""
    unsigned = {name: value for name, value in receipt.items() if name != "mac"}
    try:
        return signed(canonical(unsigned), key, str(receipt.get("mac", "")))
    except ValueError:  # NaN and Infinity, which no receipt of ours holds
        return False


def is_wanted(prefer: str) -> bool:
    """Return True if a ``Prefer`` field asks for a receipt (RFC 7240 2)."""
    return prefer != "" and any(item.partition(";")[0].strip().lower() == PREFERENCE for item in prefer.split(","))


def _texts(holder: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    return all(isinstance(holder.get(name), str) for name in names)
