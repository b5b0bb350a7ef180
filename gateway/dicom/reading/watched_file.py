"""A file that pydicom reads element by element, within the deadline of its request and a bound of work."""

from typing import BinaryIO, cast

from pydicom import Dataset, dcmread

from gateway.contract.requests import reserve, stop_if_cancelled
from gateway.dicom.reading.deflated import MAX_INFLATED_HEADER_BYTES, InflatedFile, read_inflated
from gateway.errors import GatewayError, LimitExceeded

MAX_HEADER_READS = 5_000_000
"""Reads of a header that pydicom has to read, two or three an element: functional groups of 30,000 frames."""

_LOOK = 1 << 10
"""Reads between two looks at the deadline of the request, some milliseconds."""


class WatchedFile:
    """A file that pydicom reads element by element, with a look at the deadline and at the number of reads."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.seek, self.tell = file.seek, file.tell
        self._reads = 0
        self._fault: GatewayError | None = None
        if isinstance(file, InflatedFile):
            file.limit("MAX_INFLATED_HEADER_BYTES", MAX_INFLATED_HEADER_BYTES)

    def read(self, size: int = -1) -> bytes:
        """Raises what is wrong, once it is."""
        try:
            if self._reads % _LOOK == 0:
                self._look()
            self._reads += 1
            return self.file.read(size)
        except GatewayError as fault:
            self._fault = fault
            raise

    def _look(self) -> None:
        stop_if_cancelled()
        if self._reads > MAX_HEADER_READS:
            raise LimitExceeded("MAX_HEADER_READS", MAX_HEADER_READS, "reads", what="A DICOM header")

    def header(self) -> Dataset:
        """All before the pixels."""
        stream = cast(BinaryIO, self)
        if isinstance(self.file, InflatedFile):
            return read_inflated(stream, stop_before_pixels=True)
        return dcmread(stream, stop_before_pixels=True)

    def judge(self) -> None:
        """Raise what was wrong: pydicom turns any exception within a sequence into one of its own."""
        if self._fault is not None:
            raise self._fault
        if isinstance(self.file, InflatedFile):
            reserve(self.tell())
