"""Responses of DICOMweb in pieces: one part or many, in flat memory, whatever a study holds."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

import flask

from gateway.endpoints.current import current_service
from gateway.endpoints.file_sending import SendFile, file_sender
from gateway.endpoints.multipart_response import SEND_SIZE, coalesced
from gateway.endpoints.store_views import store_context
from gateway.intake.body import lend_while_waiting
from gateway.studies.instance_rows import HeldInstance
from gateway.wire import OutgoingPart, encode, fill, frame, new_boundary

T = TypeVar("T")


class Stream:
    """A response while it is sent: files and a place that are released with its last byte, and its audit record."""

    def __init__(self, write: Callable[..., None], **members: str | int | bool) -> None:
        """``write`` writes the record with ``members`` and ``complete``: whether all was made and sent.

        Raises Unavailable where all places of this worker are taken.
        """
        self._stack = ExitStack()
        self._stack.callback(lambda: write(**members, complete=self._complete))
        self._ticket = current_service().admission.enter()
        self._stack.callback(self._ticket.leave)
        self._complete = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None:  # no response will end it
            self._stack.close()

    def open(self, instances: Sequence[HeldInstance]) -> list[BinaryIO]:
        """Open the files of instances until the end. Raises StudyNotFound."""
        files = store_context().store.open_instances(instances, unchanged=True)
        for file in files:
            self._stack.callback(file.close)
        return files

    def respond(self, pieces: Iterable[bytes], headers: dict[str, str]) -> flask.Response:
        """Return the response; the stream is over with it."""
        response = flask.Response(self._watched(pieces), headers=headers)
        response.call_on_close(self._stack.close)
        lend_while_waiting(flask.request.environ, self._ticket)
        return response

    def alone(self, part: OutgoingPart) -> flask.Response:
        """Return one part as the whole body."""
        headers = {**dict(part.headers), "Content-Length": str(part.length)}
        return self.respond(map(bytes, part.chunks), headers)

    def multipart(self, part_type: str, parts: Iterable[OutgoingPart], *, sized: bool = False) -> flask.Response:
        """Return ``multipart/related``; parts that are not ``sized`` are made one by one, the first of them now."""
        boundary = new_boundary()
        headers = {"Content-Type": f'multipart/related; type="{part_type}"; boundary={boundary}'}
        if not sized:
            return self.respond(coalesced(encode(boundary, begun(parts))), headers)
        parts = list(parts)
        framing = frame(boundary, parts)
        headers["Content-Length"] = str(sum(map(len, framing)) + sum(part.length for part in parts))
        send = file_sender()
        if send is None:
            return self.respond(coalesced(fill(framing, parts)), headers)
        return self.respond(map(bytes, fill(framing, (_sent_by(send, part) for part in parts))), headers)

    def _watched(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        yield from pieces
        self._complete = True


def begun(parts: Iterable[T]) -> Iterator[T]:
    """Make the first part now, so that what is wrong with it is answered, and the others when they are sent."""
    iterator = iter(parts)
    return chain([next(iterator)], iterator)


class FileBytes:
    """The bytes of a file from its start, in pieces."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size

    def __iter__(self) -> Iterator[bytes]:
        self.file.seek(0)
        while piece := self.file.read(SEND_SIZE):
            yield piece


def _sent_by(send: SendFile, part: OutgoingPart) -> OutgoingPart:
    """Return a part whose file is sent beside the pieces of the message, and in its place among them.

    A server asks for the next piece of a response once it has sent the last one (PEP 3333), so that the iterator of
    the pieces may send others on its own.
    """
    stored = part.chunks
    if not isinstance(stored, FileBytes):
        return part

    def sent() -> Iterator[bytes]:
        send(stored.file.fileno(), 0, stored.size)
        yield b""

    return OutgoingPart(part.headers, 0, sent())


def part_of(content_type: str, data: bytes, location: str = "") -> OutgoingPart:
    """Return a part with bytes in memory."""
    return OutgoingPart(headers_of(content_type, location), len(data), [data])


def headers_of(content_type: str, location: str = "") -> tuple[tuple[str, str], ...]:
    """Return the header of a part, with its own address where it has one (PS3.18 8.6.1.2.2)."""
    return (("Content-Type", content_type), *((("Content-Location", location),) if location else ()))
