"""Requests of DICOMweb by a client that costs as little as it can: one connection each, received into one buffer."""

import socket
import time
from collections.abc import Iterable, Sequence
from urllib.parse import urlencode

BOUNDARY = b"0f1e2d3c4b5a69788796a5b4c3d2e1f0"
TIMEOUT = 300.0
PARTS = 'multipart/related; type="application/dicom"'
_buffer = bytearray(1 << 20)


def store(port: int, root: str, files: Sequence[bytes]) -> float:
    """Store files by one STOW-RS request; return the seconds until its answer. Raises ValueError unless it is a 200."""
    framing = b"\r\n--" + BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n"
    pieces = [piece for file in files for piece in (framing, file)] + [b"\r\n--" + BOUNDARY + b"--"]
    head = f"Content-Type: {PARTS}; boundary={BOUNDARY.decode()}\r\nContent-Length: {sum(map(len, pieces))}"
    seconds, _ = _exchange(port, f"POST {root}/studies", f"{head}\r\nAccept: application/dicom+json", pieces)
    return seconds


def retrieve(port: int, root: str, study: str, least: int, syntax: str = "") -> float:
    """Retrieve a study by WADO-RS; return the seconds until its last byte. Raises ValueError for too few bytes."""
    accept = f"Accept: {PARTS}" + (f"; transfer-syntax={syntax}" if syntax else "")
    seconds, size = _exchange(port, f"GET {root}/studies/{study}", accept)
    if size < least:
        raise ValueError(f"a study of {least} bytes came as {size}")
    return seconds


def search(port: int, path: str, **terms: str) -> float:
    """Search by QIDO-RS; return the seconds. Raises ValueError unless there is a match."""
    seconds, _ = _exchange(port, f"GET {path}?{urlencode(terms)}", "Accept: application/dicom+json")
    return seconds


def _exchange(port: int, line: str, fields: str, pieces: Iterable[bytes] = ()) -> tuple[float, int]:
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        connection.sendall(
            f"{line} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{fields}\r\n\r\n".encode()
        )
        for piece in pieces:
            connection.sendall(piece)
        size, status = 0, b""
        while count := connection.recv_into(_buffer):
            status = status or bytes(_buffer[:12])
            size += count
    if not status.endswith(b" 200"):
        raise ValueError(f"{line.partition('?')[0]} was answered {status.decode('latin-1')}")
    return time.perf_counter() - started, size
