"""OHIF on an address of its own: the files of its unmodified build, and the gateway's DICOMweb behind the same origin.

A build is made for the root of a host, so it has a port beside the gateway's. Browsers keep cookies by host, whatever
the port (RFC 6265 8.5): a login at ``/ui`` counts here. OHIF reads and never writes: other methods go no further.
"""

import base64
import hashlib
import json
import mimetypes
import re
import ssl
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse
from werkzeug.utils import send_file
from werkzeug.wrappers import Request, Response

PAGE, CONFIG = "/index.html", "/app-config.js"
DICOMWEB = re.compile(r"/dicomweb(/(?!\.+(/|\Z))[A-Za-z0-9.,_~-]{1,128}){1,32}")
"""Paths that are sent to the gateway: UIDs, words, numbers and lists of frames, and no ``..``."""
FORWARDED = (
    *("Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cookie", "Host", "If-None-Match", "Origin"),
    *("Range", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Traceparent", "X-API-Key", "X-Request-ID"),
)
"""Fields of a request that reach the gateway; with Host, its addresses in answers are those of this origin."""
HOP_BY_HOP = {"connection", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade"}
"""Fields that are of one connection (RFC 9110 7.6.1)."""
CHUNK = 64 << 10
PATIENCE = urllib3.Timeout(connect=5.0, read=300.0)
"""Seconds; a retrieval of a study begins at once, and a large search or a drawn picture takes some."""
INLINE_SCRIPT = re.compile(r"<script[^>]*>([^<]+)</script>")
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}
"""RFC 9239, and what WebAssembly's streaming compilation requires; the system's table may lack them."""
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'unsafe-eval'{scripts}",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' blob: data:",
        "font-src 'self' data:",
        "connect-src 'self' blob: data:",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "media-src 'self' blob:",
        "frame-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Codecs are WebAssembly and run in workers; React sets styles; OHIF's ndarray makes functions of text for each SEG.
Nothing comes from elsewhere, and nothing goes there."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
"""The last two isolate the page, as shared memory between its workers requires (HTML 7.1.3)."""
SETTINGS: dict[str, Any] = {
    "routerBasename": None,
    "extensions": [],
    "modes": [],
    "customizationService": {},
    "showStudyList": True,
    "maxNumberOfWebWorkers": 3,
    "showWarningMessageForCrossOrigin": False,
    "showCPUFallbackMessage": False,
    "showLoadingIndicator": True,
    "strictZSpacingForVolumeViewport": True,
    "groupEnabledModesFirst": True,
    "maxNumRequests": {"interaction": 100, "thumbnail": 5, "prefetch": 10},
    "showErrorDetails": "production",
    "defaultDataSourceName": "gateway",
}
SOURCE: dict[str, Any] = {
    "friendlyName": "Inference gateway",
    "name": "gateway",
    "qidoSupportsIncludeField": False,
    "imageRendering": "wadors",
    "thumbnailRendering": "wadors",
    "enableStudyLazyLoad": True,
    "supportsFuzzyMatching": False,
    "supportsWildcard": True,
    "supportsReject": False,
    "staticWado": True,
    "singlepart": "bulkdata,video,pdf",
    "bulkDataURI": {"enabled": True},
    "omitQuotationForMultipartRequest": False,
}
"""OHIF's data source for a server of DICOMweb; its three roots are added in the browser, with the page's origin."""
SCRIPT = """\
const root = `${{window.location.origin}}/dicomweb`;
const login = {login};
window.config = Object.assign({settings}, {{
  dataSources: [{{
    namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
    sourceName: "gateway",
    configuration: Object.assign({source}, {{qidoRoot: root, wadoRoot: root, wadoUriRoot: root}}),
  }}],
  httpErrorHandler: error => {{
    if (login && error.status === 401) window.location.assign(login);
  }},
}});
"""


class OhifViewer:
    """A WSGI application: the files below ``dist``, and ``/dicomweb`` of the gateway."""

    def __init__(self, dist: Path, gateway: str, *, login: str = "", ca: Path | None = None) -> None:
        """``login`` is the URL to which a browser goes where the gateway needs a login. Raises ValueError."""
        if urlsplit(gateway).scheme not in ("http", "https") or not urlsplit(gateway).netloc:
            raise ValueError("The gateway's address should be a URL, such as http://127.0.0.1:8900.")
        if not ((dist / PAGE[1:]).is_file() and (dist / CONFIG[1:]).is_file()):
            raise ValueError(f"{dist} has no index.html beside app-config.js; name the folder dist of @ohif/app.")
        self._files = {f"/{path.relative_to(dist).as_posix()}": path for path in _files_below(dist)}
        self._config = SCRIPT.format(login=_literal(login), settings=_literal(SETTINGS), source=_literal(SOURCE))
        self._policy = POLICY.format(scripts="".join(_hashes(self._files[PAGE].read_text("utf-8"))))
        self._gateway = gateway.rstrip("/")
        trusted = ssl.create_default_context(cafile=str(ca)) if ca else None
        self._pool = urllib3.PoolManager(maxsize=16, ssl_context=trusted, retries=False, timeout=PATIENCE)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        request = Request(environ)
        return self._answer(request)(environ, start_response)

    def is_closed(self) -> bool:
        """Return True if the gateway lets nobody read without a credential. Raises OSError if it cannot be reached."""
        try:
            answer = self._pool.request("GET", f"{self._gateway}/dicomweb/studies?limit=1")
        except HTTPError as error:
            raise OSError(f"{self._gateway} cannot be reached; start the gateway first") from error
        finally:
            self._pool.clear()  # no worker inherits a connection
        return answer.status in (401, 403)

    def _answer(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return _refusal(405, "This address only reads.", Allow="GET, HEAD")
        path = request.path
        if path.startswith("/dicomweb/") or path == "/dicomweb":
            return self._forward(request) if DICOMWEB.fullmatch(path) else _refusal(404, "No such resource.")
        if path == CONFIG:
            response = Response(self._config, content_type="text/javascript; charset=utf-8")
        elif path in self._files:
            response = self._file(request, path)
        elif "." in path.rpartition("/")[2]:
            return _refusal(404, "No such file.")
        else:  # an address within OHIF, which its page reads
            response = self._file(request, PAGE)
        response.headers.update(HEADERS | {"Content-Security-Policy": self._policy})
        return response

    def _file(self, request: Request, path: str) -> Response:
        file = self._files[path]
        kind = TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return send_file(file, request.environ, mimetype=kind, conditional=True, etag=_digest(file))

    def _forward(self, request: Request) -> Response:
        """Return the gateway's response, as it arrives."""
        query = request.environ.get("QUERY_STRING", "")
        url = f"{self._gateway}{request.path}{'?' if query else ''}{query}"
        sent = {name: request.headers[name] for name in FORWARDED if name in request.headers}
        try:
            answer = self._pool.request(
                request.method or "GET", url, headers=sent, redirect=False, preload_content=False, decode_content=False
            )
        except HTTPError:
            return _refusal(502, "The gateway cannot be reached. Try again, or start it.")
        fields = [(name, value) for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP]
        response = Response(_pieces(answer), status=answer.status, headers=fields)
        response.call_on_close(answer.close)  # a body that was broken off must not be read by the next request
        return response


def _files_below(folder: Path) -> Iterator[Path]:
    """Return the files of a build, once: no path of a request reaches the disk, and no link leads elsewhere."""
    whole = folder.resolve()
    return (path for path in folder.rglob("*") if path.is_file() and path.resolve().is_relative_to(whole))


@lru_cache(1024)
def _digest(file: Path) -> str:
    """Return the sha256 of a file: npm gives all files one time, so that time and size are no validator."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _pieces(answer: BaseHTTPResponse) -> Iterator[bytes]:
    """Return the body as it arrives; one that breaks off raises HTTPError, and its connection ends with it."""
    yield from answer.stream(CHUNK, decode_content=False)


def _hashes(page: str) -> Iterator[str]:
    """Return the sources that allow the page's own inline scripts, and no others (CSP Level 3, 2.3.1)."""
    for script in INLINE_SCRIPT.findall(page):
        yield f" 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _literal(value: object) -> str:
    return json.dumps(value)  # in a file of its own, so that no </script> can end it


def _refusal(status: int, detail: str, **fields: str) -> Response:
    words = json.dumps({"status": status, "detail": detail})
    return Response(words, status=status, content_type="application/problem+json", headers=HEADERS | fields)
