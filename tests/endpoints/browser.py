"""Chromium without a window, driven over its pipe (Chrome DevTools Protocol): no driver and no package is needed."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.waiting import eventually

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Page:
    """One page: go to an address, evaluate JavaScript, choose files; ``failures`` are the console's errors."""

    def __init__(self, sending: IO[bytes], receiving: IO[bytes]) -> None:
        self._sending, self._receiving = sending, receiving
        self._number, self._session = 0, ""
        self.failures: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self._call(f"{domain}.enable")

    def go(self, url: str) -> None:
        """Open an address."""
        self._call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Return the value of an expression."""
        done = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def text(self, selector: str) -> str:
        """Return the text of an element, "" while there is none."""
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def wait(self, selector: str, part: str) -> str:
        """Return the text of an element once it has ``part``."""
        return eventually(lambda: text if part in (text := self.text(selector)) else "")

    def choose(self, selector: str, files: list[Path]) -> None:
        """Choose files in an input."""
        found = self._call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        self._call("DOM.setFileInputFiles", objectId=found["result"]["objectId"], files=[str(file) for file in files])

    def save_downloads(self, folder: Path) -> None:
        """Let downloads appear in a folder."""
        self._call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def _call(self, method: str, **params: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        self._sending.write(json.dumps(message).encode() + b"\0")
        self._sending.flush()
        while (received := self._receive()).get("id") != self._number:
            self._note(received)
        assert "error" not in received, received["error"]
        return received["result"]

    def _receive(self) -> dict[str, Any]:
        data = bytearray()
        while (byte := self._receiving.read(1)) != b"\0":
            assert byte, "the browser has ended"
            data += byte
        message: dict[str, Any] = json.loads(data)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.failures.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        if event.get("method") == "Runtime.exceptionThrown":
            self.failures.append(str(params["exceptionDetails"]))


@contextmanager
def browsing(profile: Path) -> Iterator[Page]:
    """Open a page in a browser with its own ``profile``."""
    read_here, write_there = os.pipe()
    read_there, write_here = os.pipe()
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")
    command = ["bash", "-c", f'exec "$@" 3<&{read_there} 4>&{write_there}', "bash", str(CHROMIUM), *options]
    process = subprocess.Popen(
        [*command, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(read_there, write_there),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_there), os.close(write_there)
    try:
        with os.fdopen(write_here, "wb") as sending, os.fdopen(read_here, "rb") as receiving:
            yield Page(sending, receiving)
    finally:
        process.terminate()
        process.wait()
