"""The execution loop of Backend.AI's documentation, against the gateway, with ``requests`` alone.

    BACKEND_ENDPOINT=http://localhost:8900/backendai BACKEND_ACCESS_KEY=... BACKEND_SECRET_KEY=... \
        python examples/backendai_loop.py lungs '{"threshold": 0.5}' study/*.dcm

It needs nothing of the gateway. A query sends the uploaded files to the model; questions are asked on the terminal.
"""

import getpass
import hashlib
import hmac
import json
import os
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests

VERSION = "v6.20220315"


class Kernel:
    """A session at a Backend.AI endpoint, here a model of the gateway."""

    def __init__(self, endpoint: str, access_key: str, secret_key: str, image: str, name: str) -> None:
        self.endpoint, self.access_key, self.secret_key, self.name = endpoint.rstrip("/"), access_key, secret_key, name
        self._request("POST", "/session", {"name": name, "image": image}).raise_for_status()

    def _request(self, method: str, path: str, words: Any = None, **more: Any) -> requests.Response:
        media_type = "multipart/form-data" if "files" in more else "application/json"
        headers = self._signed(method, path, media_type)
        if "files" not in more:
            headers["Content-Type"], more["data"] = media_type, json.dumps(words)
        return requests.request(method, self.endpoint + path, headers=headers, timeout=120, **more)

    def _signed(self, method: str, path: str, media_type: str) -> dict[str, str]:
        """Sign method, path, date, host and media type; the body is not signed, so use TLS."""
        url, date = urlsplit(self.endpoint + path), datetime.now(UTC)
        target = url.path + (f"?{url.query}" if url.query else "")
        lines = (method, target, date.isoformat(), f"host:{url.netloc}", f"content-type:{media_type}")
        text = "\n".join([*lines, f"x-backendai-version:{VERSION}", hashlib.sha256().hexdigest()])
        key = _hmac(_hmac(self.secret_key.encode(), date.strftime("%Y%m%d")), url.netloc)
        credential = f"credential={self.access_key}:{_hmac(key, text).hex()}"
        return {
            "Date": date.isoformat(),
            "X-BackendAI-Version": VERSION,
            "Authorization": f"BackendAI signMethod=HMAC-SHA256, {credential}",
        }

    def upload(self, paths: list[Path]) -> None:
        """Upload files under their own names."""
        files = [("src", (quote(path.name, safe=""), path.read_bytes(), "application/octet-stream")) for path in paths]
        self._request("POST", f"/session/{self.name}/upload", files=files).raise_for_status()

    def execute(self, run_id: str, code: str, mode: str) -> dict[str, Any]:
        """Begin an execution, continue it, or answer its question."""
        response = self._request("POST", f"/session/{self.name}", {"runId": run_id, "code": code, "mode": mode})
        response.raise_for_status()
        result: dict[str, Any] = response.json()["result"]
        return result

    def destroy(self) -> None:
        """Destroy the session, with its files."""
        self._request("DELETE", f"/session/{self.name}").raise_for_status()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def run(kernel: Kernel, code: str) -> int:
    """Run one query to its end, as the documentation does, and return its exit code."""
    run_id, mode = secrets.token_hex(8), "query"
    while True:
        result = kernel.execute(run_id, code, mode=mode)
        for rec in result["console"]:
            if rec[0] == "stdout":
                sys.stdout.write(rec[1])
            elif rec[0] == "stderr":
                sys.stderr.write(rec[1])
            elif rec[0] == "media":
                mime, content = rec[1]
                sys.stdout.write(f"<{mime}, {len(content)} characters>\n")
            elif rec[0] == "log":
                sys.stdout.write(f"{' '.join(rec[1])}\n")
        if result["status"] == "finished":
            return int(result["exitCode"])
        if result["status"] == "waiting-input":
            mode, hidden = "input", result["options"]["is_password"]
            code = getpass.getpass() if hidden else input()
        else:
            mode, code = "continued", ""


def main() -> int:
    """Run ``IMAGE CODE [FILE ...]`` in a session of its own."""
    image, code, *files = sys.argv[1:]
    endpoint, access_key, secret_key = (
        os.environ[f"BACKEND_{name}"] for name in ("ENDPOINT", "ACCESS_KEY", "SECRET_KEY")
    )
    kernel = Kernel(endpoint, access_key, secret_key, image, f"loop-{secrets.token_hex(5)}")
    try:
        if files:
            kernel.upload([Path(file) for file in files])
        return run(kernel, code)
    finally:
        kernel.destroy()


if __name__ == "__main__":
    sys.exit(main())
