"""The same upload with LitServe, which hands a form to its model process: ``python litserve_app.py PORT``."""

import os
import sys

import litserve
from fastapi import Request, Response

MASK = os.urandom(512 * 512) * int(os.environ["BENCH_DEPTH"])


class Upload(litserve.LitAPI):
    """Take the form, answer the mask."""

    def setup(self, device):
        """Load nothing."""

    def decode_request(self, request: Request):
        """Return the files of the form."""
        return request.getlist("files")

    def predict(self, files):
        """Return a mask if there are files."""
        return MASK if files else b""

    def encode_response(self, output) -> Response:
        """Return the bytes unchanged."""
        return Response(output, media_type="application/octet-stream")


if __name__ == "__main__":
    server = litserve.LitServer(Upload(api_path="/"), accelerator="cpu", timeout=False)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
