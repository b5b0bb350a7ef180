"""A transport to an application in the same process: only the socket is left out (PEP 3333)."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPResponse

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
LOCAL = "http://gateway.local"
"""Where a session of ``session`` finds the application; no name is looked up."""


def session(app: WSGI) -> requests.Session:
    """Return a session that sends every request to ``app``."""
    made = requests.Session()
    made.trust_env = False
    made.mount("http://", _Adapter(app))
    return made


class _Stream(io.RawIOBase):
    """An iterable of bytes as a file object."""

    def __init__(self, pieces: Iterable[bytes | memoryview], close: Callable[[], object] = lambda: None) -> None:
        self._pieces, self._rest, self._close = iter(pieces), memoryview(b""), close

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece).cast("B")
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._close()
        super().close()


class _Adapter(BaseAdapter):
    def __init__(self, app: WSGI) -> None:
        super().__init__()
        self._app = app

    def send(
        self, request: requests.PreparedRequest, stream: bool = False, *_: object, **__: object
    ) -> requests.Response:
        """Call the application; the answer is read from it on demand."""
        begun: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> None:
            begun.update(status=int(status.split()[0]), reason=status.partition(" ")[2], headers=dict(headers))

        answer = self._app(_environ(request), start_response)
        body = io.BufferedReader(_Stream(answer, getattr(answer, "close", lambda: None)))
        raw = HTTPResponse(body, preload_content=False, decode_content=False, **begun)
        return HTTPAdapter().build_response(request, raw)

    def close(self) -> None:
        """Do nothing: no connection is open."""


def _environ(request: requests.PreparedRequest) -> dict[str, Any]:
    url = urlsplit(str(request.url))
    headers: Mapping[str, str] = request.headers
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(url.path, "latin-1"),
        "QUERY_STRING": url.query,
        "SERVER_NAME": url.hostname,
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": headers.get("Content-Type", ""),
        "CONTENT_LENGTH": headers.get("Content-Length", ""),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BufferedReader(_Stream(_pieces(request.body))),
        "wsgi.input_terminated": True,
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    return environ


def _pieces(body: Any) -> Iterator[bytes]:
    if body is None:
        return iter(())
    return iter([body.encode() if isinstance(body, str) else body]) if isinstance(body, str | bytes) else iter(body)
