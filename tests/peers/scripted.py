"""Peers as a test scripts them: real servers that answer each request with bytes of the test's choice."""

import contextlib
import json
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gateway.peers.peer_entries import PeerEntry, WebAddress
from gateway.peers.web_peer import WebPeer
from gateway.wire import OutgoingPart, encode
from tests.studies.files import File

BOUNDARY = "b0undary"
DICOM = "application/dicom"
RELATED = f'multipart/related; type="{DICOM}"; boundary={BOUNDARY}'
JSON = "application/dicom+json"


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class ScriptedPeer:
    """``answer`` returns the pieces of a whole response, head included; ``asked`` are the requests so far."""

    answer: Callable[[Asked], Iterable[bytes]]
    port: int = 0
    asked: list[Asked] = field(default_factory=list)


def response(status: int, body: bytes = b"", content_type: str = JSON, **headers: str) -> list[bytes]:
    """A response that states its length."""
    fields = {"Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return [f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode(), body]


def study(*files: bytes) -> bytes:
    """A multipart body of files."""
    parts = [
        OutgoingPart((("Content-Type", DICOM), ("Content-Length", str(len(file)))), len(file), (file,))
        for file in files
    ]
    return b"".join(bytes(piece) for piece in encode(BOUNDARY, parts))


@contextmanager
def scripted(
    answer: Callable[[Asked], Iterable[bytes]], context: ssl.SSLContext | None = None
) -> Iterator[ScriptedPeer]:
    """Run a peer on a free port of 127.0.0.1; with a ``context`` it speaks TLS."""
    peer = ScriptedPeer(answer)

    class Handler(socketserver.StreamRequestHandler):
        def setup(self) -> None:
            if context is not None:
                self.request = context.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
            super().setup()

        def handle(self) -> None:
            with contextlib.suppress(ssl.SSLError):  # a client without a certificate that is asked for
                self.answer()

        def finish(self) -> None:
            with contextlib.suppress(OSError):
                super().finish()
            self.request.close()  # that of TLS too

        def answer(self) -> None:
            method, target, _ = self.rfile.readline().decode().split(" ", 2)
            headers = {}
            while line := self.rfile.readline().strip():
                name, _, value = line.decode().partition(":")
                headers[name.title()] = value.strip()
            body = self.rfile.read(int(headers.get("Content-Length", 0)))
            peer.asked.append(asked := Asked(method, target, headers, body))
            try:
                for piece in peer.answer(asked):
                    self.wfile.write(piece)
            except OSError:
                return  # the gateway has had enough

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    peer.port = server.server_address[1]
    try:
        yield peer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def web_peer(answer: Callable[[Asked], Iterable[bytes]], **address: object) -> Iterator[tuple[WebPeer, ScriptedPeer]]:
    """A scripted peer, and the gateway's client of it."""
    with scripted(answer) as running:
        web = WebAddress(f"http://127.0.0.1:{running.port}/dicom-web", **({"read_seconds": 5.0} | address))
        client = WebPeer(PeerEntry("pacs", web=web))
        try:
            yield client, running
        finally:
            client.close()


@dataclass
class Taken:
    """A sink that holds what it is passed."""

    files: list[bytearray] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    ended: int = 0

    def begin_part(self, media_type: str) -> None:
        self.types.append(media_type)
        self.files.append(bytearray())

    def write(self, data: bytes | memoryview) -> None:
        self.files[-1] += data

    def end(self) -> None:
        self.ended += 1


def archive(*files: File) -> Callable[[Asked], Iterable[bytes]]:
    """Answers of an honest archive with these files, by QIDO-RS and WADO-RS."""

    def answer(asked: Asked) -> Iterable[bytes]:
        path, _, query = asked.target.partition("?")
        words = path.split("/")
        found = [file for file in files if file.entry.study_instance_uid in words]
        if "series" in words:
            found = [file for file in found if file.entry.series_instance_uid in words]
        if words[-1] != "instances":
            return response(200, study(*(file.data for file in found)), RELATED) if found else response(404)
        uids = [] if "offset" in query else [file.entry.sop_instance_uid for file in found]
        return response(200, json.dumps([{"00080018": {"vr": "UI", "Value": [uid]}} for uid in uids]).encode())

    return answer
