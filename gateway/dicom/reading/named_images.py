"""The UIDs by which an answer names the images that it lies on."""

from collections.abc import Collection, Iterable

from gateway.dicom.reading import raw_values
from gateway.dicom.reading.attributes import unreadable
from gateway.dicom.reading.instances import Instance
from gateway.dicom.reading.redaction import naming

INSTANCE, SERIES = "SOPInstanceUID", "SeriesInstanceUID"
NAMED = (INSTANCE, SERIES, "SOPClassUID")
"""What a DICOM object names of each image that it lies on."""


def require_named(instances: Iterable[Instance], keywords: Collection[str]) -> None:
    """Refuse an image without one of these UIDs. Raises StudyRefused with the attribute and the digest of the file."""
    for one in instances:
        for keyword in keywords if one.frames else ():
            if not raw_values.uid(one.header, keyword):
                with naming(one.source):
                    raise unreadable(keyword, "is missing or empty, and the answer has to name it")
