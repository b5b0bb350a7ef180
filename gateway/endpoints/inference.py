"""The inference protocol over HTTP: ``multipart/related`` in, ``multipart/related`` out."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import flask

from gateway.admission import Admission, Ticket
from gateway.config import KiB, Settings
from gateway.contract import Model, Request, Result
from gateway.endpoints.problems import problem_response, request_id
from gateway.endpoints.receiving import Received, receive
from gateway.errors import GatewayError, Unavailable
from gateway.observe.logs import TaggedLogger
from gateway.protocol.digests import Digest, hash_function
from gateway.protocol.serializer import InferenceSerializer
from gateway.service import infer
from gateway.wire import OutgoingPart, content_length, encode, new_boundary

logger = logging.getLogger("gateway")

SEND_SIZE = 128 * KiB
"""Bytes handed to the server at once, few enough to be copied within the cache and the heap."""
DIGEST_HEADER = "X-Digest-Algorithm"
"""Names the algorithm behind the ``hashes`` part."""
SMALL = 64 * KiB
"""Pieces below this are joined: each one handed over costs a system call."""
HASHES_LENGTH = 129
"""``<input>:<output>``, two sha256 of 64 hexadecimal digits."""


@dataclass
class Exchange:
    """One request and its answer, for the log; knows what is to be let go at the end."""

    logger: TaggedLogger
    started: float
    ticket: Ticket
    output: Digest
    received: Received | None = None

    def close(self) -> None:
        """Let go of the request's bytes, of its place, and of the thread that hashes the answer."""
        self.output.close()
        self.received = None
        self.ticket.leave()

    def answered(self, result: Result, output_digest: str, size: int) -> None:
        """Write the line that says what came of it."""
        self.logger.add_tags({"output_hash": output_digest})
        self.logger.info(
            "answered in %.3f s, model %.3f s, %d bytes out", time.perf_counter() - self.started, result.seconds, size
        )


Answer = Callable[[Exchange], flask.Response]
"""From an admitted request to the response; closes the exchange when that has been sent."""


def view(
    model: Model, settings: Settings, serializer: InferenceSerializer, admission: Admission
) -> Callable[[], flask.Response]:
    """The view function of one model's route."""

    def answer(exchange: Exchange) -> flask.Response:
        received = take(exchange, settings)
        accept = flask.request.headers.get("Accept", "")
        request = Request(received.json, received.instances, received.input_digest, request_id(), accept)
        result = infer(model, request, serializer=serializer, strict=settings.strict, warn=exchange.logger.warning)
        return respond(exchange, result, settings)

    return admitted(model.name, settings, admission, answer)


def admitted(name: str, settings: Settings, admission: Admission, answer: Answer) -> Callable[[], flask.Response]:
    """A view function: what the gateway refuses is answered here and never reaches the service."""
    new_hash = hash_function(settings.digest)

    def do_inference() -> flask.Response:
        log = TaggedLogger(logger)
        log.add_tags({"request_id": request_id(), "route": name})
        try:
            ticket = admission.enter()
        except Unavailable as error:
            return problem_response(error)
        exchange = Exchange(log, time.perf_counter(), ticket, Digest(new_hash, overlap=ticket.idle_core))
        try:
            return answer(exchange)
        except GatewayError as error:
            exchange.close()
            return problem_response(error)
        except BaseException:
            exchange.close()
            raise

    return do_inference


def take(exchange: Exchange, settings: Settings) -> Received:
    """Receive the request of an exchange."""
    received = exchange.received = receive(flask.request.environ, settings, exchange.ticket)
    exchange.logger.add_tags({"input_hash": received.input_digest})
    exchange.logger.debug(
        "received %d bytes, %d files in %.3f s",
        received.size,
        len(received.instances),
        time.perf_counter() - exchange.started,
    )
    return received


def respond(exchange: Exchange, result: Result, settings: Settings) -> flask.Response:
    """A checked answer as a response of known length."""
    boundary = new_boundary()
    parts = list(_parts(exchange, result))
    headers = {
        "Content-Type": f"multipart/related; boundary={boundary}",
        "Content-Length": str(content_length(boundary, parts)),
        DIGEST_HEADER: settings.digest,
    }
    response = flask.Response(_coalesced(encode(boundary, parts)), headers=headers)
    response.call_on_close(exchange.close)
    return response


def _parts(exchange: Exchange, result: Result) -> Iterator[OutgoingPart]:
    """The parts of the answer; the last one's bytes are known once the others have been sent."""
    data = [memoryview(result.json_bytes), *(part.data for part in result.parts)]
    for piece in data:
        exchange.output.update(len(piece), [piece])
    yield _part("json-body", "application/json", data[0])
    for index, part in enumerate(result.parts):
        yield _part(f"elem_{index}", part.media_type, part.data)

    def hashes() -> Iterator[bytes]:
        output_digest = exchange.output.hexdigest()
        exchange.answered(result, output_digest, sum(map(len, data)))
        yield f"{result.input_digest}:{output_digest}".encode("ascii")

    yield OutgoingPart(_headers("hashes", "text/plain"), HASHES_LENGTH, hashes())


def _part(name: str, media_type: str, data: memoryview) -> OutgoingPart:
    pieces = (data[start : start + SEND_SIZE] for start in range(0, len(data), SEND_SIZE))
    return OutgoingPart(_headers(name, media_type), len(data), pieces)


def _headers(name: str, media_type: str) -> tuple[tuple[str, str], ...]:
    return (
        ("Content-Disposition", f'form-data; name="{name}"; filename="{name}"'),
        ("Content-Type", media_type),
    )


def _coalesced(pieces: Iterator[bytes | memoryview]) -> Iterator[bytes]:
    """The same bytes in fewer pieces, each of them ``bytes``, which is all that gunicorn takes."""
    held = bytearray()
    for piece in pieces:
        if len(piece) < SMALL:
            held += piece
            continue
        if held:
            yield bytes(held)
            held.clear()
        yield bytes(piece)
    yield bytes(held)
