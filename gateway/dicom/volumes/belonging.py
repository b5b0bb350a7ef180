"""Checks that instances belong together, on all of them: the first of a series does not speak for the rest."""

from collections.abc import Sequence

from gateway.dicom.reading.attributes import text, unreadable
from gateway.dicom.reading.instances import Instance, group_by_series
from gateway.dicom.reading.raw_values import different, distinct
from gateway.dicom.reading.redaction import naming
from gateway.errors import StudyRefused


def check(instances: Sequence[Instance]) -> None:
    """Refuse instances of several studies or patients, and a series of several modalities.

    An instance without a study does not belong to that of the others. One without a patient or a modality contradicts
    no other instance, and secondary captures often lack both.
    """
    studies = distinct((one.header for one in instances), "StudyInstanceUID")
    if studies > 1:
        raise StudyRefused(f"The instances belong to {studies} studies; one is needed.")
    _refuse_others(instances, "PatientID")
    _refuse_twins(instances)
    for series in group_by_series(instances).values():
        _refuse_others(series, "Modality")


def _refuse_twins(instances: Sequence[Instance]) -> None:
    """Refuse two instances of one UID: what refers to one of them would refer to the other."""
    seen: set[str] = set()
    for one in instances:
        if one.sop_instance_uid and one.sop_instance_uid in seen:
            with naming(one.source):
                raise unreadable("SOPInstanceUID", "is that of another instance of the request, or one was sent twice")
        seen.add(one.sop_instance_uid)


def _refuse_others(instances: Sequence[Instance], keyword: str) -> None:
    """Refuse an instance whose value of a shared attribute is not that of the first."""
    sources = {id(one.header): one.source for one in instances}
    first = ""
    for header in different((one.header for one in instances), keyword):
        stated = text(header, keyword)
        first = first or stated
        if stated and stated != first:
            with naming(sources[id(header)]):
                raise unreadable(keyword, "differs from that of the other instances")
