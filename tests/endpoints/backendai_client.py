"""A small client of Backend.AI's API: signed requests by ``requests``, and a WebSocket by wsproto."""

import base64
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Ping, Pong, TextMessage

from gateway.access.key_pairs import KeyPair
from gateway.access.signed_requests import BINARY, SignedHead
from tests.waiting import PATIENCE

VERSION = "v6.20220315"


class SigningClient:
    """Requests of one key pair; ``url`` is that of the gateway."""

    def __init__(self, url: str, pair: KeyPair) -> None:
        self.url, self.pair = url, pair

    def headers(self, method: str, path: str, media_type: str, **changes: str) -> dict[str, str]:
        """The headers of a signed request; ``changes`` come before the signature."""
        date = changes.get("date", datetime.now(UTC).isoformat())
        head = SignedHead(method, f"/backendai{path}", date, urlsplit(self.url).netloc, media_type, VERSION)
        credential = f"credential={self.pair.access_key}:{head.signature(self.pair.secret_key)}"
        return {
            "Date": date,
            "X-BackendAI-Version": VERSION,
            "Authorization": f"BackendAI signMethod=HMAC-SHA256, {credential}",
        }

    def ask(self, method: str, path: str, words: Any = None, **more: Any) -> requests.Response:
        """Send JSON, or nothing."""
        media_type = "text/plain" if words is None else "application/json"
        headers = self.headers(method, path, media_type) | {"Content-Type": media_type}
        data = None if words is None else json.dumps(words)
        return self.sent(method, path, headers | more.pop("headers", {}), data=data, **more)

    def sent(self, method: str, path: str, headers: dict[str, str], **more: Any) -> requests.Response:
        """Send a request whose path is not normalized."""
        request = requests.Request(method, self.url, headers=headers, **more).prepare()
        request.url = f"{self.url}/backendai{path}"
        return requests.Session().send(request, timeout=PATIENCE, allow_redirects=False)

    def upload(self, session: str, *files: tuple[str, bytes], field: str = "src") -> requests.Response:
        """Upload files by percent-encoded names, as aiohttp writes them."""
        path, body = f"/session/{session}/upload", b""
        for name, data in files:
            body += f'--b\r\nContent-Type: {BINARY}\r\nContent-Disposition: form-data; name="{field}"; '.encode()
            body += f'filename="{name}"\r\n\r\n'.encode() + data + b"\r\n"
        headers = self.headers("POST", path, "multipart/form-data")
        more = {"Content-Type": "multipart/form-data; boundary=b"}
        return self.sent("POST", path, headers | more, data=body + b"--b--\r\n")

    def create(self, name: str, image: str = "quick", **more: Any) -> requests.Response:
        """Create a session."""
        return self.ask("POST", "/session", {"name": name, "image": image, **more})

    def loop(self, session: str, mode: str, code: str = "", *answers: str, **words: Any) -> tuple[list[str], list[Any]]:
        """Run the loop of the documentation; return the statuses, and the records of the console."""
        statuses, console, replies, run_id = list[str](), list[Any](), list(answers), None
        while True:
            body = {"mode": mode, "code": code, "runId": run_id, **words}
            answer = self.ask("POST", f"/session/{session}", body)
            assert answer.status_code == 200, answer.text
            result, words = answer.json()["result"], {}
            run_id, console = result["runId"], console + result["console"]
            statuses.append(result["status"])
            if result["status"] == "finished":
                return [*statuses, str(result["exitCode"])], console
            mode, code = "continued", ""
            if result["status"] == "waiting-input":
                mode, code = "input", replies.pop(0)

    @contextmanager
    def stream(self, session: str, headers: dict[str, str] | None = None) -> Iterator["WebSocketClient"]:
        """Open the stream of executions."""
        path = f"/stream/session/{session}/execute"
        signed = headers or self.headers("GET", path, BINARY)
        with WebSocketClient(self.url, f"/backendai{path}", signed) as client:
            yield client


class WebSocketClient:
    """A WebSocket; ``status`` is that of the handshake."""

    def __init__(self, url: str, path: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((str(parts.hostname), parts.port), timeout=PATIENCE)
        key = base64.b64encode(os.urandom(16)).decode()
        fields = {
            "Host": parts.netloc,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": key,
        } | headers
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            received = self._socket.recv(4096)
            assert received, "the server has closed without an answer"
            head += received
        self.head, _, rest = head.partition(b"\r\n\r\n")
        self.status = int(self.head.split()[1])
        self._connection = Connection(ConnectionType.CLIENT, trailing_data=rest)
        self._events: list[Event] = []

    def send(self, event: Event) -> None:
        """Send an event."""
        self._socket.sendall(self._connection.send(event))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes that may be no frames."""
        self._socket.sendall(data)

    def text(self, words: Any) -> None:
        """Send a message: text, or JSON."""
        self.send(TextMessage(data=words if isinstance(words, str) else json.dumps(words)))

    def next(self) -> Event | None:
        """Return the next event, None at the end; pings are answered."""
        while True:
            self._events += self._connection.events()
            while self._events:
                event = self._events.pop(0)
                if not isinstance(event, Ping):
                    return event
                self.send(event.response())
            data = self._socket.recv(65536)
            if not data:
                return None
            self._connection.receive_data(data)

    def result(self) -> dict[str, Any]:
        """Return the next result."""
        event = self.next()
        assert isinstance(event, TextMessage), event
        text = event.data
        while not event.message_finished:
            event = self.next()
            assert isinstance(event, TextMessage), event
            text += event.data
        found: dict[str, Any] = json.loads(text)
        return found

    def until(self, status: str) -> tuple[dict[str, Any], list[Any]]:
        """Return the next result of a status, and all records up to it."""
        console: list[Any] = []
        while True:
            result = self.result()
            console += result["console"]
            if result["status"] == status:
                return result, console

    def close_code(self) -> int:
        """Return the code with which the server closes."""
        while not isinstance(event := self.next(), CloseConnection):
            assert event is not None, "closed without a code"
        return int(event.code)

    def pong(self) -> bytes:
        """Return the payload of the next pong."""
        while not isinstance(event := self.next(), Pong):
            assert event is not None
        return bytes(event.payload)

    def close(self) -> None:
        """Close without a word."""
        self._socket.close()

    def __enter__(self) -> "WebSocketClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
