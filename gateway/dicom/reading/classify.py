"""Classification of the files of a request: images, other instances, and attachments that are not DICOM."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from pydicom.uid import UID

from gateway.contract.requests import stop_if_cancelled
from gateway.dicom.reading.attributes import text
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
    for file_or_instance in files:
        stop_if_cancelled()
        known = len(instances)
        if isinstance(file_or_instance, Instance):
            instances.append(file_or_instance)
        else:
            for file in _flat(file_or_instance):
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


SHOWN = 3
"""SOP Classes that a sentence names."""

_IMAGES = frozenset({"Enhanced US Volume Storage", "Parametric Map Storage", "Segmentation Storage"})
"""Storage classes of images whose names do not call them so (PS3.4 B.5)."""


def is_image(instance: Instance) -> bool:
    """Return True for an instance with frames, and for one that should have some by its SOP Class or its pixels."""
    return bool(instance.frames or instance.pixels) or _should_be_image(text(instance.header, "SOPClassUID"))


def _should_be_image(sop_class: str) -> bool:
    return not sop_class or "Image Storage" in UID(sop_class).name or UID(sop_class).name in _IMAGES


def contents(instances: Iterable[Instance]) -> str:
    """The SOP Classes of instances with their numbers, such as ``Raw Data Storage (2)``; the standard's names alone."""
    classes = Counter(_class_name(text(one.header, "SOPClassUID")) for one in instances).most_common()
    rest = f" and {len(classes) - SHOWN} other kinds" if len(classes) > SHOWN else ""
    return ", ".join(f"{name} ({count})" for name, count in classes[:SHOWN]) + rest


def _class_name(sop_class: str) -> str:
    """The name in the standard; an unknown UID is not repeated, since it may be any text."""
    uid = UID(sop_class)
    return uid.name if uid.name != uid else "objects of no known SOP Class"
