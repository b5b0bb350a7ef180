"""Classification of the files of a request: instances, and attachments that are not DICOM."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from gateway.contract.requests import stop_if_cancelled
from gateway.dicom.reading.files import NotAnInstance, Source, find_files, opened
from gateway.dicom.reading.instances import Instance, read_instance
from gateway.dicom.reading.redaction import naming
from gateway.errors import LimitExceeded

MAX_STUDY_FRAMES = 200_000
"""Frames of all instances of a request, each an object of some hundred bytes: 60 slices at 3,000 time points."""


def split(files: Iterable[Source | Instance]) -> tuple[list[Instance], list[Source]]:
    """Instances and attachments, each in the order given: files with and without DICM at byte 128 (PS3.10 7.1).

    Folders are read to the bottom; a DICOMDIR is neither. Instances pass as they are. Raises StudyRefused for a DICOM
    file that cannot be read, by its digest; LimitExceeded.
    """
    instances: list[Instance] = []
    attachments: list[Source] = []
    frames = 0
    for one in files:
        stop_if_cancelled()
        known = len(instances)
        if isinstance(one, Instance):
            instances.append(one)
        else:
            for file in _flat(one):
                _sort(file, instances, attachments)
        frames += sum(new.frames for new in instances[known:])
        if frames > MAX_STUDY_FRAMES:
            raise LimitExceeded("MAX_STUDY_FRAMES", MAX_STUDY_FRAMES, "frames", what="The images of a request")
    return instances, attachments


def _flat(source: Source) -> Iterator[Source]:
    return find_files(source) if isinstance(source, Path) else iter([source])


def _sort(source: Source, instances: list[Instance], attachments: list[Source]) -> None:
    with opened(source) as file:
        file.seek(128)
        if file.read(4) != b"DICM":
            attachments.append(source)
            return
    with suppress(NotAnInstance), naming(source):
        instances.append(read_instance(source))
