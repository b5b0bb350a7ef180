"""Records of DICOM as audit messages in XML (PS3.15 A.5), one a line of a file, for an audit record repository."""

import base64
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

from gateway.observe.audit.chain import Sealed
from gateway.spool.disk import open_regular


class _Event(NamedTuple):
    """What a kind of record is in the vocabulary of PS3.15 A.5.3; ``sends`` where data leave the gateway."""

    code: str
    meaning: str
    action: str
    sends: bool


_TRANSFERRED = "110104", "DICOM Instances Transferred"
_RETRIEVED = _Event(*_TRANSFERRED, "R", sends=True)
_QUERIED = _Event("110112", "Query", "E", sends=True)
EVENTS = {
    "dicomweb-store": _Event(*_TRANSFERRED, "C", sends=False),
    "dicomweb-query": _QUERIED,
    "dicomweb-delete": _Event("110105", "DICOM Study Deleted", "D", sends=False),
    "ui-studies": _QUERIED,
    **dict.fromkeys(("ui-study", "ui-picture", "monai-image"), _RETRIEVED),
    **{f"dicomweb-{name}": _RETRIEVED for name in ("retrieve", "metadata", "frames", "bulkdata", "rendered")},
}
"""Kinds of records that become messages."""
SUCCESS, MINOR, SERIOUS = "0", "4", "8"
"""Event outcome indicators (RFC 3881 5.1.4)."""
_SYSTEM_OBJECT, _REPORT, _QUERY = "2", "3", "24"
"""A participant object of the type system object, and its roles of a report and a query (RFC 3881 5.5)."""


class MessageCopies:
    """A file to which messages are appended, opened anew for each batch, so that it can be rotated."""

    name = "messages"

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, records: Sequence[Sealed]) -> None:
        """Append the messages of those records that have one. Raises OSError."""
        lines = b"".join(message(record.record) + b"\n" for record in records if record.record.get("kind") in EVENTS)
        if not lines:
            return
        descriptor = open_regular(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            size = os.fstat(descriptor).st_size
            if file.write(lines) != len(lines):  # a full disk: the batch is written again, and whole
                os.ftruncate(descriptor, size)
                raise OSError("the messages of the audit were not written")

    def close(self) -> None:
        """Do nothing: no file is open."""


def message(record: Mapping[str, Any]) -> bytes:
    """Return the audit message of one record of a kind of EVENTS, without a line end (PS3.15 A.5.1)."""
    event = EVENTS[record["kind"]]
    root = Element("AuditMessage")
    head = {"EventActionCode": event.action, "EventDateTime": record["time"], "EventOutcomeIndicator": _outcome(record)}
    _coded(SubElement(root, "EventIdentification", head), "EventID", event.code, event.meaning)
    roles = [("110153", "Source Role ID"), ("110152", "Destination Role ID")]
    own, others = roles if event.sends else roles[::-1]
    _participant(root, record["caller"] or "anonymous", requestor=True, role=others)
    _participant(root, f"{socket.gethostname()}/{os.getpid()}", requestor=False, role=own)
    source = SubElement(root, "AuditSourceIdentification", {"AuditSourceID": socket.gethostname()})
    _coded(source, "AuditSourceTypeCode", "4", "Application Server", system="RFC-3881")
    _object(root, record)
    return tostring(root, "unicode").encode()


def _outcome(record: Mapping[str, Any]) -> str:
    status = int(record.get("status") or 200)
    if status >= 500:
        return SERIOUS
    return SUCCESS if status in (200, 204) and record.get("complete", True) else MINOR


def _participant(root: Element, user: str, *, requestor: bool, role: tuple[str, str]) -> None:
    named = {"UserID": user, "UserIsRequestor": str(requestor).lower()}
    _coded(SubElement(root, "ActiveParticipant", named), "RoleIDCode", *role)


def _object(root: Element, record: Mapping[str, Any]) -> None:
    """A study by its UID, or by the digest of it; a query by its level, since its values can name a patient."""
    query = EVENTS[record["kind"]] is _QUERIED
    level = str(record.get("level", "STUDY"))
    if not query and not record.get("study"):
        return
    uid = str(record.get("study_uid") or record.get("study") or level)
    role = _QUERY if query else _REPORT
    kind = {"ParticipantObjectTypeCode": _SYSTEM_OBJECT, "ParticipantObjectTypeCodeRole": role}
    found = SubElement(root, "ParticipantObjectIdentification", {"ParticipantObjectID": uid, **kind})
    meaning = ("110181", "SOP Class UID") if query else ("110180", "Study Instance UID")
    _coded(found, "ParticipantObjectIDTypeCode", *meaning)
    if query:
        SubElement(found, "ParticipantObjectQuery").text = _encoded(f"level={level}")
    else:
        SubElement(found, "ParticipantObjectName").text = "study" if "study_uid" in record else "sha256 of the UID"
    for name in ("instances", "failures", "matches"):
        if name in record:
            SubElement(found, "ParticipantObjectDetail", {"type": name, "value": _encoded(str(record[name]))})


def _coded(parent: Element, name: str, code: str, meaning: str, system: str = "DCM") -> None:
    values = {"csd-code": code, "codeSystemName": system, "displayName": meaning, "originalText": meaning}
    SubElement(parent, name, values)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
