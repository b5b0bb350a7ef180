"""The baseline: a simple gateway with the whole body in memory and requests-toolbelt on both sides."""

import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request
from requests_toolbelt.multipart.decoder import MultipartDecoder
from requests_toolbelt.multipart.encoder import MultipartEncoder

from benchmarks.models import MODELS

Handler = Callable[[dict[str, Any], list[Any], str], tuple[dict[str, Any], list[Any]]]


def infer(handler: Handler) -> Response:
    """Decode, hash, run, hash, encode; one after the other."""
    parts = MultipartDecoder(request.get_data(), request.headers["Content-Type"]).parts
    input_hash = _sha256([part.content for part in parts])
    files = [io.BytesIO(part.content) for part in parts[1:]]
    answer, arrays = handler(json.loads(parts[0].text), files, input_hash)
    contents = [json.dumps(answer).encode(), *(array.tobytes() for array in arrays)]
    return _response(contents, f"{input_hash}:{_sha256(contents)}")


def _sha256(contents: list[bytes]) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    return digest.hexdigest()


def _response(contents: list[bytes], hashes: str) -> Response:
    fields = [("json-body", ("json-body", contents[0], "application/json"))]
    for index, content in enumerate(contents[1:]):
        fields.append((f"elem_{index}", (f"elem_{index}", content, "application/binary")))
    fields.append(("hashes", ("hashes", hashes.encode(), "text/plain")))
    encoder = MultipartEncoder(fields)
    return Response(encoder.to_string(), content_type=f"multipart/related; boundary={encoder.boundary_value}")


def _view(handler: Handler) -> Callable[[], Response]:
    return lambda: infer(handler)


app = Flask(__name__)
app.add_url_rule("/ping", "ping", lambda: "inference-service is up and accepting connections")
for route, model in MODELS.items():
    app.add_url_rule(route, route, _view(model), methods=["POST"])
