"""Requests to a wrapper and their answers, as bytes."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from gateway.wire import Data, Decoder, Part, parse_options_header

KIND = "multipart/related; boundary=frontier"


@dataclass
class Received:
    """One part of an answer."""

    name: str
    media_type: str
    data: bytes = b""


def body(params: dict[str, Any], *parts: tuple[str | None, bytes]) -> bytes:
    """A request; a part whose name is None has no header."""
    out = b"--frontier\r\n\r\n" + json.dumps(params).encode() + b"\r\n"
    for name, data in parts:
        header = f'Content-Disposition: form-data; name="{name}"\r\n'.encode() if name is not None else b""
        out += b"--frontier\r\n" + header + b"\r\n" + data + b"\r\n"
    return out + b"--frontier--\r\n"


def parts_of(content_type: str, data: bytes) -> list[Received]:
    """The parts of a complete answer."""
    decoder, parts = Decoder(parse_options_header(content_type)[1]["boundary"]), list[Received]()
    for event in decoder.receive(data):
        if isinstance(event, Part):
            name = parse_options_header(event.headers.get("Content-Disposition", ""))[1]["name"]
            parts.append(Received(name, event.headers.get("Content-Type", "")))
        elif isinstance(event, Data):
            parts[-1].data += bytes(event.data)
    decoder.close()
    return parts


def hashes_hold(parts: list[Received], *sent: bytes) -> bool:
    """Whether an answer's hashes are those of the request, and of all parts before them in the answer."""
    expected = [hashlib.sha256(b"".join(data)).hexdigest() for data in (sent, [part.data for part in parts[:-1]])]
    return parts[-1].name == "hashes" and parts[-1].data.decode() == ":".join(expected)
