"""The file meta information of a stored file, and where its data set begins (PS3.10 7.1)."""

from typing import BinaryIO, NamedTuple

from gateway.dicom.reading.attributes import text
from gateway.dicom.reading.deflated import read_meta
from gateway.dicom.reading.files import opened, refusing
from gateway.errors import StudyRefused

PREAMBLE = 132


class FileHead(NamedTuple):
    """What a transfer of a file needs: its UIDs, and the position of its data set in bytes."""

    sop_class_uid: str
    transfer_syntax_uid: str
    start: int


def read_file_head(file: BinaryIO) -> FileHead:
    """Read the head of a Part 10 file. Raises StudyRefused."""
    with opened(file), refusing("A DICOM header is broken and cannot be read."):
        file.seek(PREAMBLE)
        meta = read_meta(file)
        head = FileHead(text(meta, "MediaStorageSOPClassUID"), text(meta, "TransferSyntaxUID"), file.tell())
    if not head.sop_class_uid or not head.transfer_syntax_uid:
        raise StudyRefused("A DICOM file does not state its SOP class and transfer syntax.")
    return head
