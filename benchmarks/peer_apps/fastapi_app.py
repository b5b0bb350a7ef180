"""A bare form upload with FastAPI: the files are parsed into the form and not read."""

import os

from fastapi import FastAPI, Request, Response

MASK = os.urandom(512 * 512) * int(os.environ["BENCH_DEPTH"])

app = FastAPI()


@app.post("/")
async def upload(request: Request) -> Response:
    """Take the form, answer the mask."""
    async with request.form(max_files=100_000) as form:
        files = form.getlist("files")
    return Response(MASK if files else b"", media_type="application/octet-stream")
