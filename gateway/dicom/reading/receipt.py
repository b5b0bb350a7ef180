"""What came with a request, told apart: instances, and attachments that are no DICOM."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from pydicom import Dataset

from gateway.dicom.reading import encoded
from gateway.dicom.reading.attributes import Vector, tag
from gateway.dicom.reading.files import NotAnInstance, Source, find_files, opened, refusing
from gateway.dicom.reading.geometry import is_orthonormal
from gateway.dicom.reading.headers import Element, Uncommon, read
from gateway.dicom.reading.instances import Instance, frame_count, read_instance
from gateway.dicom.reading.naming import naming

_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def split(files: Iterable[Source | Instance]) -> tuple[list[Instance], list[Source]]:
    """Instances and attachments, each in the order given: files with and without DICM at byte 128 (PS3.10 7.1).

    Folders are read to the bottom; a DICOMDIR is neither. Instances pass as they are. Raises StudyRefused for a DICOM
    file that cannot be read, by its digest; LimitExceeded.
    """
    instances: list[Instance] = []
    attachments: list[Source] = []
    for one in files:
        if isinstance(one, Instance):
            instances.append(one)
        else:
            for file in _flat(one):
                _sort(file, instances, attachments)
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
        instances.append(read_instance_quickly(source))


def read_instance_quickly(source: Source) -> Instance:
    """What ``instances.read_instance`` reads, in half of its time where the file is common. Raises as it does."""
    with opened(source) as file, refusing("A DICOM header is broken and cannot be read."):
        try:
            found = read(file)
        except Uncommon:
            found = None
    if found is None or any(tag(keyword) in found[0] for keyword in _GROUPS):
        return read_instance(source)
    return _describe(source, *found)


def _describe(source: Source, header: Dataset, pixels: Element) -> Instance:
    """A classic instance, one without functional groups."""
    rows, columns = encoded.short(header, "Rows") or 0, encoded.short(header, "Columns") or 0
    return Instance(
        source=source,
        header=header,
        sop_instance_uid=encoded.uid(header, "SOPInstanceUID"),
        series_instance_uid=encoded.uid(header, "SeriesInstanceUID"),
        position=encoded.numbers(header, "ImagePositionPatient", 3),
        orientation=_orientation(header),
        instance_number=encoded.whole(header, "InstanceNumber"),
        rows=rows,
        columns=columns,
        frames=frame_count(encoded.whole(header, "NumberOfFrames")) if rows and columns else 0,
        pixels=pixels,
    )


def _orientation(header: Dataset) -> Vector | None:
    found = encoded.numbers(header, "ImageOrientationPatient", 6)
    return found if found is not None and is_orthonormal(found) else None
