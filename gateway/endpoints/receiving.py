"""From the bytes of a request to its JSON, its parts as files and their digest: read once, hashed on the way."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from gateway import study_path
from gateway.admission import Ticket
from gateway.config import Settings
from gateway.endpoints.body import READ_SIZE, body, content_length
from gateway.errors import BrokenBody, BrokenJSON, LimitExceeded, UnsupportedMedia
from gateway.protocol.digests import Digest, hash_function
from gateway.protocol.request import parse_json
from gateway.spool import Spool
from gateway.wire import Data, Decoder, EndOfMessage, EndOfPart, Headers, Limits, Part, parse_options_header


@dataclass(frozen=True)
class Received:
    """A request in words. ``instances`` are open files, attachments first; ``close`` lets go of their bytes."""

    json: dict[str, Any]
    instances: list[BinaryIO]
    input_digest: str
    size: int
    spool: Spool

    def close(self) -> None:
        self.spool.close()


def receive(environ: dict[str, Any], settings: Settings, ticket: Ticket) -> Received:
    """Read one request. Raises BrokenBody, BrokenJSON, LimitExceeded, UnsupportedMedia and those of a studyPath."""
    if environ.get("HTTP_CONTENT_ENCODING"):
        raise UnsupportedMedia("Send the body without a Content-Encoding: its digest is over the bytes as they are.")
    media_type, options = parse_options_header(environ.get("CONTENT_TYPE", ""))
    length = content_length(environ)
    if length is not None and length > settings.max_body_bytes:
        raise LimitExceeded("max_body_bytes", settings.max_body_bytes, what="The body")
    ticket.expect(length or 0)
    pieces = _counted(body(environ, length), settings.max_body_bytes, ticket)
    if media_type == "multipart/related":
        return _receive_multipart(pieces, options, length or 0, settings)
    if media_type == "application/json":
        return _receive_study_path(pieces, options.get("charset"), settings)
    raise UnsupportedMedia(
        "Send multipart/related with a JSON part first, or application/json with a studyPath"
        f"{'' if media_type else '; this request has no Content-Type'}."
    )


def _receive_multipart(pieces: Iterable[bytes], options: dict[str, str], expected: int, settings: Settings) -> Received:
    if "boundary" not in options:
        raise BrokenBody("The Content-Type has no boundary parameter.")
    limits = Limits(
        max_parts=settings.max_parts,
        max_part_header_bytes=settings.max_part_header_bytes,
        max_part_headers=settings.max_part_headers,
    )
    decoder = Decoder(options["boundary"], limits)
    spool = Spool(threshold=settings.spool_threshold, folder=settings.spool_folder, expected=expected)
    headers: list[Headers] = []
    with Digest(hash_function(settings.digest)) as digest:
        for event in _events(decoder, pieces):
            match event:
                case Data(data):
                    spool.write(data)
                    digest.update(data)
                    if len(headers) == 1 and spool.size > settings.max_json_bytes:
                        raise LimitExceeded("max_json_bytes", settings.max_json_bytes, what="The JSON part")
                case Part():
                    headers.append(event.headers)
                case EndOfPart():
                    spool.end_part()
                case EndOfMessage():
                    pass
        input_digest = digest.hexdigest()
    return _in_words(spool, _charset(headers[0], options) if headers else None, input_digest)


def _events(decoder: Decoder, pieces: Iterable[bytes]) -> Iterator[Any]:
    for piece in pieces:
        yield from decoder.receive(piece)
    decoder.close()


def _receive_study_path(pieces: Iterable[bytes], charset: str | None, settings: Settings) -> Received:
    text = bytearray()
    for piece in pieces:
        text += piece
        if len(text) > settings.max_json_bytes:
            raise LimitExceeded("max_json_bytes", settings.max_json_bytes, what="The JSON body")
    path = parse_json(bytes(text), charset).get("studyPath")
    if path is None:
        raise UnsupportedMedia("application/json is read only with a studyPath; send DICOM as multipart/related.")
    if not isinstance(path, str) or not path:
        raise BrokenJSON("studyPath should be a string that names a folder or a file.")
    files = study_path.find(path, settings)
    spool = Spool(threshold=settings.spool_threshold, folder=settings.spool_folder)
    with Digest(hash_function(settings.digest)) as digest:
        _take(spool, digest, [bytes(text)])
        for file in files:
            assert settings.study_root is not None
            with study_path.open_inside(settings.study_root, file) as opened:
                _take(spool, digest, iter(lambda opened=opened: opened.read(READ_SIZE), b""))  # type: ignore[misc]
        input_digest = digest.hexdigest()
    return _in_words(spool, charset, input_digest)


def _take(spool: Spool, digest: Digest, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        spool.write(piece)
        digest.update(piece)
    spool.end_part()


def _in_words(spool: Spool, charset: str | None, input_digest: str) -> Received:
    parts = spool.parts()
    if not parts:
        raise BrokenJSON("The body has no parts; the first should be a JSON object.")
    return Received(parse_json(parts[0].getvalue(), charset), list(parts[1:]), input_digest, spool.size, spool)


def _charset(headers: Headers, options: dict[str, str]) -> str | None:
    """The charset of the JSON part: its own, else that of the message, else the default."""
    own = parse_options_header(headers.get("Content-Type") or "")[1].get("charset")
    return own or options.get("charset")


def _counted(pieces: Iterable[bytes], limit: int, ticket: Ticket) -> Iterator[bytes]:
    received = 0
    for piece in pieces:
        received += len(piece)
        if received > limit:
            raise LimitExceeded("max_body_bytes", limit, what="The body")
        ticket.receive(len(piece))
        yield piece
