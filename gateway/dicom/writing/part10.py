"""The beginning of a Part 10 file for a data set that arrives without one (PS3.10 7.1)."""

import struct

from pydicom.uid import PYDICOM_IMPLEMENTATION_UID

_VERSION = b"\0\1"


def file_head(sop_class: str, sop_instance: str, transfer_syntax: str) -> bytes:
    """Return preamble, prefix and file meta information, which are the same for the same UIDs.

    A version or a sender in it would give one instance that is sent twice two digests.
    """
    uids = (
        (0x0002, sop_class),
        (0x0003, sop_instance),
        (0x0010, transfer_syntax),
        (0x0012, PYDICOM_IMPLEMENTATION_UID),
    )
    body = struct.pack("<HH2sHL2s", 2, 1, b"OB", 0, len(_VERSION), _VERSION)
    for element, uid in uids:
        value = uid.encode("ascii") + b"\0" * (len(uid) % 2)
        body += struct.pack("<HH2sH", 2, element, b"UI", len(value)) + value
    return bytes(128) + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body
