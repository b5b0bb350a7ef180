"""The input of a model: local files, which are sent, or a stored study, which is sent by reference."""

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.client.local_files import Files
from gateway.client.study_upload import Reference, Uploaded
from gateway.client.unreadable import Skipping

if TYPE_CHECKING:
    from gateway.dicom.reading.instances import Instance

Study = Files | Uploaded | Reference


def instances_of(study: Study, skipping: Skipping) -> "list[Instance]":
    """Return the headers of a local study, in the order in which a model expects them.

    Raises StudyRefused, and StudyUnreadable for a file that ``skipping`` does not allow to leave out.
    """
    if isinstance(study, Reference):
        return []
    if isinstance(study, Uploaded):
        return study.instances
    from gateway.client.study_files import load, spatial

    return load(Path(study), skipping) if isinstance(study, str | Path) else spatial(study, skipping)


def headers_of(study: Study, skipping: Skipping) -> list[bytes]:
    """Return the headers of a local study, each as a file that ends before its pixels."""
    return [_header(instance) for instance in instances_of(study, skipping)]


def _header(instance: "Instance") -> bytes:
    from gateway.dicom.reading.files import convert_dataset_to_bytes, opened
    from gateway.dicom.reading.holes import head_of
    from gateway.dicom.volumes.nifti_volumes import is_nifti

    if not is_nifti(instance):
        return convert_dataset_to_bytes(instance.header)
    with opened(instance.source) as file:
        return head_of(file)
