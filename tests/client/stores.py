"""A study store of a few lines that fails when told to: what is tried with it is the client."""

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.client.servers import Heard, Said, problem

Trouble = Callable[[Heard], Said | None]
"""What goes wrong with a request; None lets it through."""


def said(words: Any) -> Said:
    return Said(json.dumps(words).encode(), "application/json")


@dataclass
class Store:
    """What docs/studies.md says of a manifest, of a chunk and of a bundle; ``heard`` keeps every request."""

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
        found = [data for entry, data in self.files.values() if entry["sha256"] == digest]
        return Said(found[0], "application/octet-stream") if found else problem(404, title="nothing here")

    def _state(self, entry: dict[str, Any]) -> dict[str, Any]:
        held = self.held.get(entry["sop_instance_uid"])
        named = {name: entry[name] for name in ("sop_instance_uid", "sha256")}
        if held in (None, entry["sha256"]):
            return named | {"state": "present" if held else "missing"}
        return named | {"state": "conflict", "existing": held}

    def _keep(self, request: Heard) -> Said:
        words, *files = request.parts
        entries = json.loads(words)["instances"]
        for index, (entry, data) in enumerate(zip(entries, files, strict=True)):
            if hashlib.sha256(data).hexdigest() != entry["sha256"]:
                return problem(
                    422, type="urn:gateway:problem:digest-mismatch", detail="Another digest.", instance=index
                )
        self.held |= {entry["sop_instance_uid"]: entry["sha256"] for entry in entries}
        return said({"instances": [{**self._state(entry), "state": "stored"} for entry in entries]})

    def _differences(self, entries: list[dict[str, Any]]) -> Said:
        missing = [one["key"] for one in entries if self._digest(one["key"]) != one["sha256"]]
        keys = {one["key"] for one in entries}
        extra = [entry for key, (entry, _) in self.files.items() if key not in keys]
        return said({"missing": missing, "same": sorted(keys - set(missing)), "extra": extra})

    def _digest(self, key: str) -> str | None:
        return self.files[key][0]["sha256"] if key in self.files else None

    def _keep_files(self, request: Heard) -> Said:
        words, *files = request.parts
        order = json.loads(words)
        self.files |= {entry["key"]: (entry, data) for entry, data in zip(order["files"], files, strict=True)}
        for key in order["remove"]:
            self.files.pop(key)
        return said({"files": len(files), "bytes": sum(map(len, files)), "removed": len(order["remove"])})
