"""Inputs and outputs of a wrapper (``aiges.dto``)."""

import io
from functools import cached_property
from typing import Any, BinaryIO

from gateway.adapters.aiges import sessions
from gateway.adapters.aiges.constants import DataText, Once, Types

__all__ = [
    "DataListCls",
    "DataListNode",
    "Response",
    "ResponseData",
    "SessionCreateResponse",
    "callback",
]


class DataListNode:
    """A piece of a request: ``data`` is bytes, ``type`` 0 text, 1 audio, 2 image, 3 video."""

    data: Any = b""

    def __init__(self) -> None:
        self.key = ""
        self.status = Once
        self.len = 0
        self.type = DataText


class ReceivedNode(DataListNode):
    """A part of a request; its bytes are copied from the spool when the wrapper first reads ``data``."""

    def __init__(self, key: str, kind: int, status: int, file: BinaryIO) -> None:
        super().__init__()
        self.key, self.type, self.status = key, kind, status
        self.len = file.seek(0, io.SEEK_END)
        self._file = file

    @cached_property
    def data(self) -> bytes:
        """The part's bytes."""
        self._file.seek(0)
        return self._file.read()


class DataListCls:
    """A request's pieces in order; several may have one key, as the slices of a study do."""

    def __init__(self) -> None:
        self.list: list[DataListNode] = []

    def get(self, key: str) -> DataListNode | None:
        """Return the first piece called ``key``, or None."""
        return next((node for node in self.list if node.key == key), None)


class ResponseData:
    """A piece of an answer, filled by attributes or by ``setData`` and ``setDataType``."""

    def __init__(
        self, key: str = "", data: Any = b"", length: int = 0, type: int = DataText, status: int = Once
    ) -> None:
        self.key = key
        self.data = data or b""
        self.len = length or len(self.data)
        self.type = type
        self.status = status

    def setDataType(self, t: int) -> None:
        """Set ``type``. Raises ValueError for a number that is no type."""
        if t not in Types:
            raise ValueError(f"The data type should be one of {Types}.")
        self.type = t

    def setData(self, d: Any) -> None:
        """Set ``data``, and ``len`` with it."""
        self.data = d
        self.len = len(d)


class Response:
    """An answer: pieces, or an ``error_code`` other than 0."""

    def __init__(self) -> None:
        self.list: list[ResponseData] = [ResponseData()]
        self.error_code = 0

    def response_err(self, error_code: int) -> "Response":
        """Make this answer an error."""
        self.error_code = error_code
        return self


class SessionCreateResponse:
    """The result of ``wrapperCreate``: a handle, or an ``error_code`` other than 0."""

    def __init__(self) -> None:
        self.handle = ""
        self.error_code = 0


def callback(response: Any, sid: str) -> None:
    """Send one answer of the session ``sid``, from any thread; waits while the client is slower than the wrapper."""
    sessions.deliver(sid, response)
