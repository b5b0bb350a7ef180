"""A mask for the body of a request, through Ray Serve's own HTTP proxy; prints its address as gunicorn does."""

import os
import signal
import sys
import tempfile

import numpy
import ray
from ray import serve
from starlette.responses import Response

DEPTH = 32
MASK = numpy.ones((DEPTH, 512, 512), numpy.uint8)


@serve.deployment
class Masks:
    """Looks at the first bytes of a body, and answers the mask."""

    async def __call__(self, request):
        body = await request.body()
        return Response(MASK.tobytes(), media_type="application/octet-stream", headers={"X-First": body[:1].hex()})


with tempfile.TemporaryDirectory(prefix="bench-ray-", dir="/tmp") as folder:
    ray.init(include_dashboard=False, configure_logging=False, log_to_driver=False, _temp_dir=folder)
    port = int(os.environ["BENCH_PORT"])
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(Masks.bind())
    sys.stdout.write(f"Listening at: http://127.0.0.1:{port}\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM})
    ray.shutdown()
