"""The requests of a client, sent with requests alone: the routes of docs/studies.md."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import requests

from gateway.wire import OutgoingPart, encode
from tests.studies.files import File
from tests.waiting import PATIENCE

BOUNDARY = "b0undary"


class Asking:
    """One caller of one gateway."""

    def __init__(self, url: str, key: str = "") -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = self._headers | options.pop("headers", {})
        return requests.request(method, self._url + path, headers=headers, timeout=PATIENCE, **options)

    def parts(self, path: str, json_part: object, data: Sequence[bytes], **more: Any) -> requests.Response:
        """Send JSON and files."""
        first = OutgoingPart.named("json", "application/json", json.dumps(json_part).encode())
        parts = [first, *(OutgoingPart.named("file", "application/octet-stream", file) for file in data)]
        headers = {"Content-Type": f"multipart/related; boundary={BOUNDARY}"}
        return self.ask("POST", path, data=b"".join(encode(BOUNDARY, parts)), headers=headers, **more)

    def manifest(self, files: Sequence[File]) -> list[dict[str, Any]]:
        answer = self.ask("POST", "/studies/manifest", json=[file.words for file in files])
        assert answer.status_code == 200, answer.text
        states: list[dict[str, Any]] = answer.json()["instances"]
        return states

    def send(self, sent: Sequence[File], **params: str) -> requests.Response:
        manifest = {"instances": [file.words for file in sent]}
        return self.parts("/studies/instances", manifest, [file.data for file in sent], params=params)

    def send_missing(self, files: Sequence[File]) -> int:
        """Upload as a client does: send the manifest, then the missing instances; return their number."""
        missing = [file for file, state in zip(files, self.manifest(files), strict=True) if state["state"] == "missing"]
        if missing:
            answer = self.send(missing)
            assert answer.status_code == 200, answer.text
        return len(missing)


def entry(key: str, data: bytes) -> dict[str, object]:
    """A file of a bundle, as a client describes it."""
    return {"key": key, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "mtime": 0}


def plain(answer: requests.Response) -> tuple[int, dict[str, Any]]:
    """Status and body of a response, without members that differ each time."""
    body = answer.json()
    return answer.status_code, {name: value for name, value in body.items() if name != "request_id"}
