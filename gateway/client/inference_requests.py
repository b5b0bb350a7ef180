"""Inference requests, with the bytes of a study or a reference to it, and checks that answers are for these bytes."""

import json as jsonlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from itertools import chain, repeat
from pathlib import PurePath
from typing import Any
from urllib.parse import unquote

from gateway.client.answer import Answer, read_answer
from gateway.client.errors import AnswerCorrupt, Refused, one_line
from gateway.client.transport import Transport
from gateway.client.upload_body import PIECE, OnProgress, Source, UploadBody, digest_of
from gateway.protocol.digests import hash_function

BEGINS = re.compile("sha256 begins with ([0-9a-f]{16})")
"""A file in a refusal; the gateway never knows its name."""
MODEL = "X-Model", "X-Model-Version"
ACCEPT = "multipart/related, application/problem+json"


class Inference:
    """Model requests through one transport; ``digest`` names the server's digest algorithm."""

    def __init__(self, transport: Transport, digest: str) -> None:
        self._transport = transport
        self._digest = digest
        self._new_hash = hash_function(digest)

    def send(
        self,
        json: Mapping[str, Any],
        files: Iterable[Source],
        route: str,
        progress: OnProgress | None = None,
        attachments: Sequence[Source] = (),
        timeout: float | None = None,
    ) -> Answer:
        """Send all bytes. Raises AnswerCorrupt for an answer to other bytes."""
        sources = list(files)
        body = self.body(json, sources, progress, attachments)
        with naming(sources):
            answer = self._post(route, body.content_type, body, timeout)
        return checked(answer, body.input_digest)

    def body(
        self,
        json: Mapping[str, Any],
        sources: Sequence[Source],
        progress: OnProgress | None = None,
        attachments: Sequence[Source] = (),
    ) -> UploadBody:
        """Return the body of a request with all its bytes."""
        parts = chain(
            [("application/json", encoded(json))],
            zip(repeat("application/octet-stream"), attachments),
            zip(repeat("application/dicom"), sources),
        )
        return UploadBody(parts, progress, self._new_hash)

    def digest(self, json: Mapping[str, Any], sources: Sequence[Source]) -> str:
        """Return the digest of a request with these local files."""
        return digest_of([encoded(json), *sources], self._new_hash)

    def name(
        self, json: Mapping[str, Any], route: str, sources: Sequence[Source] = (), timeout: float | None = None
    ) -> Answer:
        """Send only the JSON, with a reference to a study. ``sources`` are its local files.

        They are hashed while the model runs: an answer to other bytes is refused as well.
        """
        data = encoded(json)
        if not sources:
            return self._post(route, "application/json", data, timeout)
        with ThreadPoolExecutor(1) as beside:
            expected = beside.submit(self.digest, json, sources)
            with naming(sources):
                answer = self._post(route, "application/json", data, timeout)
            return checked(answer, expected.result())

    def kept(self, route: str) -> Answer:
        """Return a stored answer."""
        return self._transport.retried(lambda: self._ask("GET", route, {"Accept": ACCEPT}))

    def posted(self, route: str) -> Answer:
        """Return the answer to a request without a body, which may be repeated."""
        return self._transport.retried(lambda: self._ask("POST", route, {"Accept": ACCEPT}))

    def _post(self, route: str, content_type: str, body: bytes | UploadBody, timeout: float | None) -> Answer:
        return self._ask("POST", route, {"Content-Type": content_type, "Accept": ACCEPT}, data=body, timeout=timeout)

    def _ask(self, method: str, route: str, headers: dict[str, str], **options: Any) -> Answer:
        with self._transport.response(method, route, headers=headers, **options) as response:
            request_id = one_line(response.headers.get("X-Request-ID", ""))
            used = one_line(response.headers.get("X-Digest-Algorithm", "sha256"))
            if used != self._digest:
                raise AnswerCorrupt(f"The server hashes with {used}, this client with {self._digest}: set them alike.")
            content_type = response.headers.get("Content-Type", "")
            answer = read_answer(content_type, response.iter_content(PIECE), request_id, self._new_hash)
            model, version = (one_line(unquote(response.headers.get(name, ""))) for name in MODEL)
            return replace(answer, model=model, model_version=version)


def encoded(json: Mapping[str, Any]) -> bytes:
    """Return a request's JSON. Raises ValueError for values that JSON cannot express, such as NaN."""
    return jsonlib.dumps(json, ensure_ascii=False, allow_nan=False).encode("utf-8")


@contextmanager
def naming(sources: Sequence[Source]) -> Iterator[None]:
    """Add the names of local files to a refusal that names them by the beginning of their sha256."""
    try:
        yield
    except Refused as error:
        if begins := BEGINS.search(error.detail):
            named = ((_name_of(each), each) for each in sources)
            if name := next((name for name, each in named if name and _begins(each, begins[1])), ""):
                error.detail = f"{error.detail[: begins.end()]} ({name}){error.detail[begins.end() :]}"
                error.args = (error.detail,)
        raise


def _begins(source: Source, digits: str) -> bool:
    return digest_of([source], sha256).startswith(digits)


def _name_of(source: Source) -> str:
    """Return a file's own name; "" for one in memory."""
    name = getattr(source, "name", "")
    return one_line(PurePath(name).name) if isinstance(name, str) else ""


def checked(answer: Answer, input_digest: str) -> Answer:
    """Return an answer to a request with this digest. Raises AnswerCorrupt for an answer to another."""
    if answer.input_digest != input_digest:
        raise AnswerCorrupt("The server answered for other bytes than were sent.", request_id=answer.request_id)
    return answer
