"""Inference by reference, and answers read part by part."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from requests_toolbelt.multipart.decoder import MultipartDecoder

from tests.studies.asking import Asking
from tests.studies.files import File


@dataclass(frozen=True)
class Said:
    """One answer: its parts byte by byte, the digests last."""

    response: requests.Response
    parts: list[bytes]

    @property
    def input_digest(self) -> str:
        return self.parts[-1].decode().partition(":")[0]

    @property
    def kept(self) -> bool:
        """Whether the answer came from the cache."""
        return "Age" in self.response.headers


@dataclass(frozen=True)
class Models:
    """The models of tests/apps/recalled.py on one gateway, and how often they have run."""

    url: str
    calls: Path
    key: str = ""

    def named(self, route: str, members: dict[str, Any], **headers: str) -> Said:
        """Request inference by reference."""
        text, kind = json.dumps(members).encode(), {"Content-Type": "application/json"}
        return _said(Asking(self.url, self.key).ask("POST", route, data=text, headers=kind | headers))

    def sent(self, route: str, members: dict[str, Any], files: Sequence[File]) -> Said:
        """Request inference with the bytes."""
        return _said(Asking(self.url, self.key).parts(route, members, [file.data for file in files]))

    @property
    def runs(self) -> int:
        return self.calls.stat().st_size if self.calls.exists() else 0


def _said(response: requests.Response) -> Said:
    assert response.status_code == 200, response.text
    decoder = MultipartDecoder(response.content, response.headers["Content-Type"])
    return Said(response, [part.content for part in decoder.parts])


def digest_of(members: dict[str, Any], files: Sequence[File]) -> str:
    """The digest of a request's JSON as it is sent and then the files."""
    return hashlib.sha256(json.dumps(members).encode() + b"".join(file.data for file in files)).hexdigest()
