"""``Client``: one gateway, reached over HTTP."""

import json as jsonlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, repeat
from typing import Any, Self
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import NewConnectionError

from gateway.client.answer import Answer, read_answer
from gateway.client.errors import AnswerCorrupt, ClientError, Disconnected, Refused, Unreachable, one_line, refusal
from gateway.client.upload import PIECE, Progress, Source, Upload
from gateway.protocol.digests import hash_function

DEFAULT_TIMEOUT = 1800.0
"""Seconds without a byte before giving up: three times the ten minutes that a long prediction takes, since a request
may first wait for another's."""

LONGEST_REFUSAL = 1 << 16
"""Bytes read of an error answer; a problem document has some hundred."""


class Client:
    """A gateway at ``base_url``. Keeps connections open between requests; close it, or use it with ``with``.

    ``timeout`` is in seconds, for a silent server: it bounds each wait, not the whole request. ``session`` brings
    authentication, certificates or proxies. ``digest`` names the algorithm that the server is set to. All methods
    raise ClientError.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        session: requests.Session | None = None,
        digest: str = "sha256",
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeout = timeout
        self._session = session or requests.Session()
        self._digest = digest
        self._new_hash = hash_function(digest)

    @property
    def address(self) -> str:
        """Host and port, without the credentials that a URL may hold."""
        return _place(self.base_url)

    def infer(
        self,
        json: dict[str, Any],
        files: Iterable[Source],
        route: str = "/",
        progress: Progress | None = None,
        *,
        attachments: Sequence[Source] = (),
    ) -> Answer:
        """Send ``json``, ``attachments`` and the DICOM ``files`` in this order, and read the checked answer.

        Files given by path are opened one after another as they are sent. ``progress(sent, total)`` is in bytes.
        """
        parts = chain(
            [("application/json", _encoded(json))],
            zip(repeat("application/octet-stream"), attachments),
            zip(repeat("application/dicom"), files),
        )
        body = Upload(parts, progress, self._new_hash)
        answer = self._post(route, body.content_type, body)
        if answer.input_digest != body.input_digest:
            raise AnswerCorrupt("The server answered for other bytes than were sent.", request_id=answer.request_id)
        return answer

    def infer_path(self, json: dict[str, Any], study_path: str, route: str = "/") -> Answer:
        """Ask for a study that the server itself can read below its ``study_root``."""
        return self._post(route, "application/json", _encoded(json | {"studyPath": study_path}))

    def ping(self) -> str:
        """The text of ``GET /ping``: the server takes connections."""
        return self._text("/ping")

    def health(self) -> str:
        """The text of ``GET /healthcheck``: ``READY``, or another word while the models are not."""
        return self._text("/healthcheck")

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _post(self, route: str, content_type: str, body: bytes | Upload) -> Answer:
        headers = {"Content-Type": content_type, "Accept": "multipart/related, application/problem+json"}
        with self._response("POST", route, headers=headers, data=body) as response:
            request_id = one_line(response.headers.get("X-Request-ID", ""))
            used = one_line(response.headers.get("X-Digest-Algorithm", "sha256"))
            if used != self._digest:
                raise AnswerCorrupt(f"The server hashes with {used}, this client with {self._digest}: set them alike.")
            content_type = response.headers.get("Content-Type", "")
            return read_answer(content_type, response.iter_content(PIECE), request_id, self._new_hash)

    def _text(self, route: str) -> str:
        with self._response("GET", route) as response:
            return _beginning(response).decode("utf-8", "replace").strip()

    @contextmanager
    def _response(self, method: str, route: str, **options: Any) -> Iterator[requests.Response]:
        """A response with status 200 and its body still to be read; every failure as a ClientError."""
        url = f"{self.base_url}/{route.lstrip('/')}"
        options["headers"] = options.get("headers", {}) | {"Accept-Encoding": "identity"}
        try:
            with self._session.request(
                method, url, timeout=self._timeout, stream=True, allow_redirects=False, **options
            ) as response:
                if response.status_code != 200:
                    raise _refused(response)
                yield response
        except requests.RequestException as error:
            raise _failure(error, url) from error


def _encoded(json: dict[str, Any]) -> bytes:
    return jsonlib.dumps(json, ensure_ascii=False, allow_nan=False).encode("utf-8")


def _refused(response: requests.Response) -> Refused:
    headers = response.headers
    return refusal(
        response.status_code,
        response.reason or "",
        headers.get("Content-Type", "").lower(),
        _beginning(response),
        headers.get("X-Request-ID", ""),
    )


def _beginning(response: requests.Response) -> bytes:
    taken = bytearray()
    for piece in response.iter_content(LONGEST_REFUSAL):
        taken += piece
        if len(taken) >= LONGEST_REFUSAL:
            break
    return bytes(taken[:LONGEST_REFUSAL])


def _failure(error: requests.RequestException, url: str) -> ClientError:
    """The same failure in the words of this module, without the credentials that a URL may hold."""
    place = _place(url)
    if isinstance(error, requests.exceptions.ConnectTimeout) or _never_connected(error):
        return Unreachable(f"Cannot connect to {place}. Is a server running there?")
    if isinstance(error, requests.exceptions.SSLError):
        return Unreachable(f"{place} cannot be trusted: its TLS certificate or protocol was refused.")
    if isinstance(error, requests.Timeout):
        return Disconnected(f"{place} gave no answer in time.")
    if isinstance(error, ValueError):  # requests' own word for a URL that is none
        return Unreachable(f"{place} is not an address of a gateway.")
    return Disconnected(f"{place} closed the connection before its answer was complete.")


def _never_connected(error: requests.RequestException) -> bool:
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", None), NewConnectionError)


def _place(url: str) -> str:
    try:
        split = urlsplit(url)
        return f"{split.hostname}:{split.port}" if split.port else split.hostname or url
    except ValueError:
        return "This URL"
