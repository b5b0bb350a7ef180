"""A mask for a study through Ray Serve's own HTTP proxy; prints its address as gunicorn does.

``/bytes`` looks at no more than the first byte of a body. ``/same`` does the work of the gateway, with its own reader
and writer of parts: it reads them, hashes them, calls the same model, and answers the same bytes.
"""

import hashlib
import io
import json
import os
import signal
import sys
import tempfile

import ray
from ray import serve
from starlette.responses import Response

from benchmarks.models import mask
from gateway.wire import Data, OutgoingPart, Part, decode, encode, new_boundary, parse_options_header

DEPTH = 32


@serve.deployment
class Bytes:
    """Answers the mask for any body."""

    def __init__(self):
        self.mask = mask({"depth": DEPTH}, [], "")[1][0]

    async def __call__(self, request):
        body = await request.body()
        return Response(self.mask.tobytes(), headers={"X-First": body[:1].hex()})


@serve.deployment
class Same:
    """Answers as the gateway does."""

    async def __call__(self, request):
        text, *files = parts_of(await request.body(), request.headers["content-type"])
        received = digest_of([text, *files])
        words, arrays = mask(json.loads(bytes(text)), [io.BytesIO(file) for file in files], received)
        contents = [json.dumps(words).encode(), *(array.data.cast("B") for array in arrays)]
        hashes = f"{received}:{digest_of(contents)}".encode()
        parts = [OutgoingPart.named("part", "application/octet-stream", each) for each in [*contents, hashes]]
        boundary = new_boundary()
        return Response(b"".join(encode(boundary, parts)), media_type=f"multipart/related; boundary={boundary}")


def parts_of(body, content_type):
    """The contents of the parts without a copy; a body in one piece has one stretch of data for each."""
    found = []
    for event in decode(parse_options_header(content_type)[1]["boundary"], [body]):
        if isinstance(event, Part):
            found.append(b"")
        elif isinstance(event, Data):
            found[-1] = event.data
    return found


def digest_of(contents):
    """The sha256 of all contents, one after the other."""
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    return digest.hexdigest()


with tempfile.TemporaryDirectory(prefix="bench-ray-", dir="/tmp") as folder:
    ray.init(include_dashboard=False, configure_logging=False, log_to_driver=False, _temp_dir=folder)
    port = int(os.environ["BENCH_PORT"])
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    for deployment in (Bytes, Same):
        serve.run(deployment.bind(), name=deployment.name, route_prefix=f"/{deployment.name.lower()}")
    sys.stdout.write(f"Listening at: http://127.0.0.1:{port}\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM})
    ray.shutdown()
