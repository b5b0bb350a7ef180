"""Resources of DICOMweb: whose studies, their addresses, and representations that a request accepts."""

from dataclasses import dataclass, field

import flask

from gateway.endpoints.access_control import caller
from gateway.endpoints.current import current_service
from gateway.endpoints.store_views import store_context
from gateway.errors import NotAcceptable
from gateway.protocol.media_ranges import MediaRange, media_ranges
from gateway.studies.instance_rows import HeldInstance
from gateway.studies.query.visibility import visible_instances

JSON_TYPE, XML_TYPE = "application/dicom+json", "application/dicom+xml"
JSON_TYPES = (JSON_TYPE, "application/json")


def owners() -> tuple[str, ...]:
    """Return the callers whose studies this caller may see, itself first."""
    sender = caller()
    return ("",) if sender is None else tuple(dict.fromkeys((sender.name, *sender.reads)))


def accepted() -> list[MediaRange]:
    """Return the media ranges of this request; the parameter ``accept`` replaces the header (PS3.18 8.3.3.1)."""
    return media_ranges(flask.request.args.get("accept", "") or flask.request.headers.get("Accept", ""))


def require_json() -> str:
    """Return the media type of a JSON response. Raises NotAcceptable where only other types are accepted."""
    for one in accepted():
        for media_type in JSON_TYPES:
            if one.covers(media_type):
                return media_type
    raise NotAcceptable(f"This resource is sent as {JSON_TYPE}.")


def _root() -> str:
    configured = current_service().settings.dicomweb_url
    return (configured or f"{flask.request.url_root.rstrip('/')}/dicomweb").rstrip("/")


@dataclass(frozen=True)
class Addresses:
    """Absolute URLs as this client reaches them; they may be made when the request is over."""

    root: str = field(default_factory=_root)

    def of(self, study: str, series: str = "", sop: str = "") -> str:
        """Return the URL of a study, a series or an instance."""
        steps = (("studies", study), ("series", series), ("instances", sop))
        return self.root + "".join(f"/{name}/{uid}" for name, uid in steps if uid)

    def of_instance(self, instance: HeldInstance) -> str:
        """Return the URL of a stored instance."""
        series = f"{self.root}/studies/{instance.study_instance_uid}/series/{instance.series_instance_uid}"
        return f"{series}/instances/{instance.sop_instance_uid}"


def found(study: str, series: str = "", sop: str = "") -> list[HeldInstance]:
    """Return the instances of a resource that this caller may see. Raises StudyNotFound."""
    return visible_instances(store_context().store, owners(), study, series, sop)
