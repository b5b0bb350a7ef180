"""A small study store that fails on request, for tests of the client."""

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.client.servers import Heard, Said, problem

Trouble = Callable[[Heard], Said | None]
"""Returns the failure of a request; None lets it pass."""


def said(words: Any) -> Said:
    return Said(json.dumps(words).encode(), "application/json")


@dataclass
class Store:
    """The routes of docs/studies.md for manifests, chunks and bundles; ``heard`` has every request."""

    trouble: Trouble = lambda request: None
    heard: list[Heard] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)
    """SOP Instance UID -> digest."""
    files: dict[str, tuple[dict[str, Any], bytes]] = field(default_factory=dict)
    """Key -> entry and bytes of the one bundle."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Heard) -> Said:
        with self._lock:
            self.heard.append(request)
            return self.trouble(request) or self._answer(request)

    def chunks(self) -> list[Heard]:
        paths = ("/studies/instances", "/bundles/b/files")
        return [request for request in self.heard if request.path.startswith(paths)]

    def _answer(self, request: Heard) -> Said:
        path = request.path.partition("?")[0]
        if path == "/studies/manifest":
            return said({"instances": [self._state(entry) for entry in json.loads(request.body)]})
        if path == "/studies/instances":
            return self._keep(request)
        if path == "/bundles/b/manifest":
            return self._differences(json.loads(request.body))
        if path == "/bundles/b/files":
            return self._keep_files(request)
        if path == "/bundles/b":
            return said({"name": "b", "files": [entry for entry, _ in self.files.values()]})
        digest = path.rpartition("/")[2]
        matching = [data for entry, data in self.files.values() if entry["sha256"] == digest]
        return Said(matching[0], "application/octet-stream") if matching else problem(404, title="nothing here")

    def _state(self, entry: dict[str, Any]) -> dict[str, Any]:
        stored = self.held.get(entry["sop_instance_uid"])
        named = {name: entry[name] for name in ("sop_instance_uid", "sha256")}
        if stored in (None, entry["sha256"]):
            return named | {"state": "present" if stored else "missing"}
        return named | {"state": "conflict", "existing": stored}

    def _keep(self, request: Heard) -> Said:
        manifest, *files = request.parts
        entries = json.loads(manifest)["instances"]
        for index, (entry, data) in enumerate(zip(entries, files, strict=True)):
            if hashlib.sha256(data).hexdigest() != entry["sha256"]:
                return problem(
                    422, type="urn:gateway:problem:digest-mismatch", detail="Another digest.", instance=index
                )
        self.held |= {entry["sop_instance_uid"]: entry["sha256"] for entry in entries}
        return said({"instances": [{**self._state(entry), "state": "stored"} for entry in entries]})

    def _differences(self, entries: list[dict[str, Any]]) -> Said:
        missing = [entry["key"] for entry in entries if self._digest(entry["key"]) != entry["sha256"]]
        keys = {entry["key"] for entry in entries}
        extra = [entry for key, (entry, _) in self.files.items() if key not in keys]
        return said({"missing": missing, "same": sorted(keys - set(missing)), "extra": extra})

    def _digest(self, key: str) -> str | None:
        return self.files[key][0]["sha256"] if key in self.files else None

    def _keep_files(self, request: Heard) -> Said:
        manifest, *files = request.parts
        order = json.loads(manifest)
        self.files |= {entry["key"]: (entry, data) for entry, data in zip(order["files"], files, strict=True)}
        for key in order["remove"]:
            self.files.pop(key)
        return said({"files": len(files), "bytes": sum(map(len, files)), "removed": len(order["remove"])})
