"""The media type of a function's output, by its first bytes where its author has not declared one."""

from collections.abc import Sequence

DEFAULT = "application/octet-stream"
SIGNATURES: Sequence[tuple[int, bytes, str]] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"P4", "image/x-portable-bitmap"),
    (0, b"P5", "image/x-portable-graymap"),
    (0, b"P6", "image/x-portable-pixmap"),
    (128, b"DICM", "application/dicom"),  # PS3.10 7.1
)
"""Place, bytes and media type. None of them is a type that a browser runs."""


def media_type_of(data: bytes | bytearray | memoryview) -> str:
    """Return the media type of an image by its signature; DEFAULT for other bytes."""
    head = bytes(data[:160])
    return next((name for at, signature, name in SIGNATURES if head[at : at + len(signature)] == signature), DEFAULT)
