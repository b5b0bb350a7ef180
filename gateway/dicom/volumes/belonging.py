"""Checks that instances belong together, on all of them: the first of a series does not speak for the rest."""

from collections.abc import Sequence

from gateway.dicom.reading.attributes import text, unreadable
from gateway.dicom.reading.classify import contents, is_image
from gateway.dicom.reading.instances import Instance, group_by_series
from gateway.dicom.reading.raw_values import different, distinct
from gateway.dicom.reading.redaction import naming
from gateway.errors import StudyRefused


def check(instances: Sequence[Instance]) -> None:
    """Refuse instances of several studies or patients, and a series whose images are of several modalities.

    An instance without a study does not belong to that of the others. One without a patient or a modality contradicts
    no other instance, and secondary captures often lack both. Objects beside the images of a series, such as a
    presentation state, have a modality of their own.
    """
    studies = distinct((instance.header for instance in instances), "StudyInstanceUID")
    if studies > 1:
        raise StudyRefused(
            f"The instances belong to {studies} studies (StudyInstanceUID): send each study by itself.",
            private="several studies",
        )
    for keyword in ("PatientID", "IssuerOfPatientID"):
        _refuse_others(instances, keyword)
    _refuse_twins(instances)
    for series in group_by_series(instances).values():
        _refuse_others([instance for instance in series if is_image(instance)] or series, "Modality")


def images_among(instances: Sequence[Instance]) -> tuple[list[Instance], list[str]]:
    """The images of a series, and a remark on objects beside them that hold none, such as Raw Data.

    Raises StudyRefused for an image without a size: left out, it would be a missing slice.
    """
    others = [instance for instance in instances if not instance.frames]
    for broken in filter(is_image, others):
        with naming(broken.source):
            raise unreadable("Columns" if broken.rows else "Rows", "is missing or 0 in an image")
    remarks = [f"Objects without an image were left out of the series: {contents(others)}."] if others else []
    return [instance for instance in instances if instance.frames], remarks


def _refuse_twins(instances: Sequence[Instance]) -> None:
    """Refuse two instances of one UID: what refers to one of them would refer to the other."""
    seen: set[str] = set()
    for instance in instances:
        if instance.sop_instance_uid and instance.sop_instance_uid in seen:
            with naming(instance.source):
                raise unreadable("SOPInstanceUID", "is that of another instance of the request, or one was sent twice")
        seen.add(instance.sop_instance_uid)


def _refuse_others(instances: Sequence[Instance], keyword: str) -> None:
    """Refuse an instance whose value of a shared attribute is not that of the first."""
    sources = {id(instance.header): instance.source for instance in instances}
    first = ""
    for header in different((instance.header for instance in instances), keyword):
        stated = text(header, keyword)
        first = first or stated
        if stated and stated != first:
            with naming(sources[id(header)]):
                raise unreadable(keyword, "differs from that of the other instances")
