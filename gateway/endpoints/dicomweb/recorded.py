"""Audit records of DICOMweb: who stored, searched, retrieved or deleted what, and how it ended."""

from collections.abc import Callable

from gateway.endpoints.access_control import caller_name
from gateway.endpoints.current import current_service
from gateway.studies.blobs import quarantine_label


def require_audit() -> None:
    """Raise Unavailable where the audit is required and takes no records now."""
    auditor = current_service().auditor
    if auditor is not None:
        auditor.ready()


def record(kind: str, study: str = "", **members: str | int | bool) -> None:
    """Write a record now. A study is named by the digest of its UID, and by the UID where ``audit_uids`` is set."""
    recorder(kind, study)(**members)


def recorder(kind: str, study: str = "") -> Callable[..., None]:
    """Return what writes the record later, when the request is over."""
    service, caller = current_service(), caller_name()
    named: dict[str, str] = {"study": quarantine_label(study)} if study else {}
    if study and service.settings.audit_uids:
        named["study_uid"] = study

    def write(**members: str | int | bool) -> None:
        if service.auditor is not None:
            service.auditor.event(kind, caller, **named, **members)

    return write
