"""Bundles of a model's files: only differences travel, and only an administrator may ask (docs/studies.md)."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import BinaryIO

import flask

from gateway.config import KiB
from gateway.endpoints.access_control import require
from gateway.endpoints.guarded_views import Rule, admission_ticket
from gateway.endpoints.store_views import store_context
from gateway.errors import BundleNotFound
from gateway.intake import chunks
from gateway.intake.body import read_json
from gateway.studies.bundle_keys import check_bundle
from gateway.studies.bundles import BundleUpload, read_files, read_push
from gateway.studies.manifests import is_digest

SEND_SIZE = 128 * KiB


def _list() -> flask.Response:
    require("admin")
    return flask.jsonify({"bundles": store_context().bundles.names()})


def _files(name: str) -> flask.Response:
    require("admin")
    return flask.jsonify({"name": name, "files": [asdict(file) for file in store_context().bundles.files(name)]})


def _manifest(name: str) -> flask.Response:
    require("admin")
    store = store_context().store
    theirs = read_files(read_json(flask.request.environ, store.settings), store.settings)
    return flask.jsonify(asdict(store_context().bundles.difference(name, theirs)))


def _push(name: str) -> flask.Response:
    require("admin")
    store = store_context().store
    check_bundle(name)

    def opened(text: bytes) -> BundleUpload:
        return BundleUpload(store, name, read_push(text, store.settings))

    with admission_ticket() as ticket, chunks.received(flask.request.environ, store.settings, ticket, opened) as upload:
        removed = upload.keep()
    files = upload.push.files
    return flask.jsonify({"files": len(files), "bytes": sum(file.size for file in files), "removed": removed})


def _pull(name: str, sha256: str) -> flask.Response:
    require("admin")
    if not is_digest(sha256):
        raise BundleNotFound("There is no such file in this bundle.")
    file, size = store_context().bundles.open(name, sha256)
    response = flask.Response(_pieces(file), content_type="application/octet-stream")
    response.content_length = size
    response.call_on_close(file.close)
    return response


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(SEND_SIZE):
        yield piece


def _remove(name: str) -> flask.Response:
    require("admin")
    files, size = store_context().bundles.remove(name)
    return flask.jsonify({"files": files, "bytes": size})


RULES: tuple[Rule, ...] = (
    ("GET", "/bundles", _list),
    ("GET", "/bundles/<name>", _files),
    ("POST", "/bundles/<name>/manifest", _manifest),
    ("POST", "/bundles/<name>/files", _push),
    ("GET", "/bundles/<name>/files/<sha256>", _pull),
    ("DELETE", "/bundles/<name>", _remove),
)
