"""Prepared requests, so that a client only sends them."""

import functools
import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from requests_toolbelt.multipart.decoder import MultipartDecoder

from benchmarks.client import Answer
from benchmarks.models import SLICE

KiB, MiB = 1 << 10, 1 << 20
PART_SIZE = 512 * KiB
"""Bytes of a part: one CT slice of 512 x 512, 16 bits."""
DISTINCT = 8
"""Different parts of a study; they repeat, so that a gigabyte costs the client 4 MiB and few cache misses."""
BOUNDARY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


@dataclass(frozen=True)
class Study:
    """A request: its head, its body in the pieces in which it is sent, and the contents of its parts in order."""

    head: bytes
    pieces: list[bytes]
    contents: list[bytes]

    @property
    def size(self) -> int:
        """Bytes of the parts, without framing."""
        return sum(map(len, self.contents))


def study(
    parts: int,
    *,
    depth: int = 0,
    path: str = "/",
    part_size: int = PART_SIZE,
    kind: str = "related",
    name: str = "request_json",
    **more: Any,
) -> Study:
    """Return a study of ``parts`` files that requests a mask of ``depth`` slices.

    ``kind`` is ``related`` or ``form-data``, ``name`` that of the JSON part; ``more`` are further members of the JSON.
    """
    question = json.dumps({"depth": depth, **more}).encode()
    files = _files(part_size)
    framed = [_framed("files", "application/dicom", file) for file in files]
    first = _framed(name, "application/json", question).removeprefix(b"\r\n")
    pieces = [first, *islice(cycle(framed), parts), f"\r\n--{BOUNDARY}--\r\n".encode()]
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {sum(map(len, pieces))}\r\n"
        f'Content-Type: multipart/{kind}; boundary="{BOUNDARY}"\r\n\r\n'
    )
    return Study(head.encode(), pieces, [question, *islice(cycle(files), parts)])


def check(sent: Study, answer: Answer, digest: Callable[[], Any] = hashlib.sha256) -> None:
    """Read an answer as a client does and recompute its hashes. Raises ValueError for any fault."""
    if answer.status != 200:
        raise ValueError(f"status {answer.status}: {bytes(answer.body[:500])!r}")
    parts = MultipartDecoder(bytes(answer.body), answer.headers["content-type"]).parts
    contents = [part.content for part in parts]
    if contents[-1] != f"{_digest(sent.contents, digest)}:{_digest(contents[:-1], digest)}".encode():
        raise ValueError("the hashes are wrong")
    depth = json.loads(sent.contents[0])["depth"]
    if sum(map(len, contents[1:-1])) != depth * SLICE:
        raise ValueError("the mask has another size")
    _check_words(sent, json.loads(contents[0])["study_ml_json"])


def _check_words(sent: Study, words: dict[str, int]) -> None:
    files = sent.contents[1:]
    if words.get("files", len(files)) != len(files):
        raise ValueError("files are missing")
    if words.get("seen", len(files)) not in (len(files), sum(map(len, files))):
        raise ValueError("the model received other files")


def _digest(contents: list[bytes], digest: Callable[[], Any]) -> str:
    state = digest()
    for content in contents:
        state.update(content)
    return str(state.hexdigest())


@functools.cache
def _files(size: int) -> list[bytes]:
    source = random.Random(size)
    return [(bytes(128) + b"DICM" + source.randbytes(size))[:size] for _ in range(DISTINCT)]


def _framed(name: str, media_type: str, content: bytes) -> bytes:
    header = (
        f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
        f"Content-Type: {media_type}\r\n\r\n"
    )
    return header.encode() + content
