"""What a client does, with requests alone: the routes of docs/studies.md as anyone may call them."""

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

    def ask(self, method: str, path: str, **words: Any) -> requests.Response:
        headers = self._headers | words.pop("headers", {})
        return requests.request(method, self._url + path, headers=headers, timeout=PATIENCE, **words)

    def parts(self, path: str, words: object, data: Sequence[bytes], **more: Any) -> requests.Response:
        """Send JSON and files."""
        first = OutgoingPart.named("json", "application/json", json.dumps(words).encode())
        parts = [first, *(OutgoingPart.named("file", "application/octet-stream", one) for one in data)]
        headers = {"Content-Type": f"multipart/related; boundary={BOUNDARY}"}
        return self.ask("POST", path, data=b"".join(encode(BOUNDARY, parts)), headers=headers, **more)

    def manifest(self, asked: Sequence[File]) -> list[dict[str, Any]]:
        answer = self.ask("POST", "/studies/manifest", json=[one.words for one in asked])
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["instances"]
        return found

    def send(self, sent: Sequence[File], **params: str) -> requests.Response:
        words = {"instances": [one.words for one in sent]}
        return self.parts("/studies/instances", words, [one.data for one in sent], params=params)

    def send_missing(self, wanted: Sequence[File]) -> int:
        """As a client does: ask, then send what is missing; how many that were."""
        missing = [one for one, said in zip(wanted, self.manifest(wanted), strict=True) if said["state"] == "missing"]
        if missing:
            answer = self.send(missing)
            assert answer.status_code == 200, answer.text
        return len(missing)


def entry(key: str, data: bytes) -> dict[str, object]:
    """A file of a bundle, as its client says it."""
    return {"key": key, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "mtime": 0}


def plain(answer: requests.Response) -> tuple[int, dict[str, Any]]:
    """Status and body of an answer, without what is another each time."""
    body = answer.json()
    return answer.status_code, {name: value for name, value in body.items() if name != "request_id"}
