"""The outcome of a try to deliver, for a person, and its word for metrics and the log."""

import re

from gateway.studies.delivery_rows import DeliveryState

TRY_WORDS = {DeliveryState.DELIVERED: "delivered", DeliveryState.PENDING: "retried", DeliveryState.DEAD: "dead"}
"""What became of something by a try, as metrics and log name it."""
WORDS = {
    "unavailable": "it does not answer",
    "rejected": "it rejects the AE title of the gateway",
    "not-offered": "it does not accept the class or the transfer syntax of the objects",
    "tls": "TLS with it fails: see the certificates",
    "failed": "its answer is wrong",
    "no-such-peer": "the file of peers has no such name any more",
    "instance-gone": "a stored file is missing, or has changed",
    "not-named": "its answer does not say what became of an object",
    "unfinished": "a process of the gateway ended within the last try",
    "stored": "stored",
    "present": "it had the objects already",
}
STATUSES = {
    401: "it does not accept the credentials of the gateway",
    403: "it does not allow the gateway to store",
    404: "it has no such address",
    413: "an object is too large for it",
    415: "it does not accept such objects",
}
REASONS = {
    0x0110: "it failed to process an object",
    0x0122: "it does not accept the class or the transfer syntax of an object",
    0x0124: "it does not allow the gateway to store",
    0xC122: "it does not accept the transfer syntax of an object",
}
"""Failure reasons (PS3.7 C, PS3.18 I.2)."""
RANGES = {0xA7: "it has no room", 0xA9: "an object does not match its class"}
"""Those of a range, by their first byte (PS3.4 B.2.3)."""


def in_words(outcome: str) -> str:
    """Return a clause for an outcome, with the status or the reason that the peer gave; "" for none."""
    if found := re.fullmatch(r"status-(\d{3})", outcome):
        return f"{STATUSES.get(int(found[1]), 'it answers with an error')} ({found[1]})"
    if found := re.fullmatch(r"refused-([0-9A-F]{4})", outcome):
        reason = int(found[1], 16)
        other = "it cannot read an object" if reason >> 12 == 0xC else "it refuses an object"
        return f"{REASONS.get(reason) or RANGES.get(reason >> 8, other)} ({found[1]})"
    return WORDS.get(outcome, outcome)
