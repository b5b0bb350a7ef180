"""The files of the page, as ``make web`` builds them from web/."""

import gzip
import hashlib
import mimetypes
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import flask

from gateway.endpoints.guarded_views import Rule

POLICY = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind} 'self'" for kind in ("script-src", "style-src", "connect-src", "worker-src", "form-action")),
        "img-src 'self' blob: data:",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""Scripts and styles are files of the gateway; nothing comes from elsewhere (Content Security Policy Level 3)."""
PAGE = "index.html"
COMPRESSED = ("text/", "application/javascript")
"""Media types that gzip makes smaller."""


class PageFile(NamedTuple):
    """A file of the page: its bytes, the same in gzip ("" where that is of no use), its type and its digest."""

    data: bytes
    packed: bytes
    media_type: str
    digest: str


def _page() -> flask.Response:
    return _file(PAGE)


def _to_page() -> flask.Response:
    return flask.Response(status=308, headers={"Location": "ui/"})  # relative: a proxy may have a prefix


def _file(name: str) -> flask.Response:
    found = _files().get(name)
    if found is None:
        flask.abort(404)
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    packed = found.packed and "gzip" in flask.request.headers.get("Accept-Encoding", "")
    response = flask.Response(found.packed if packed else found.data, content_type=found.media_type, headers=headers)
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    response.set_etag(f"{found.digest}{'-gzip' if packed else ''}")
    response.make_conditional(flask.request.environ)
    return response


@cache
def _files() -> dict[str, PageFile]:
    """Return the files by name, read once: no path of a request reaches the disk."""
    folder = files("gateway.endpoints").joinpath("pages", "ui")
    return {each.name: _read(each.name, each.read_bytes()) for each in folder.iterdir() if each.is_file()}


def _read(name: str, data: bytes) -> PageFile:
    media_type = mimetypes.types_map.get(f".{name.rpartition('.')[2]}", "application/octet-stream")
    if name.endswith(".js"):
        media_type = "text/javascript"  # RFC 9239
    text = media_type.startswith(COMPRESSED)
    packed = gzip.compress(data, mtime=0) if text else b""
    charset = "; charset=utf-8" if text else ""
    return PageFile(data, packed, media_type + charset, hashlib.sha256(data).hexdigest())


RULES: tuple[Rule, ...] = (("GET", "", _to_page), ("GET", "/", _page), ("GET", "/<path:name>", _file))
