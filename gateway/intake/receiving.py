"""From the bytes of a request to its JSON, its parts as files and their digest: read once, hashed on the way.

Each source of bytes has a function: a body as it arrives, by its media type, and files that are there already.
``request_bodies`` chooses among the media types of a body.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from gateway.config import MiB, Settings
from gateway.errors import (
    BrokenJSON,
    DeadlineExceeded,
    ParameterRefused,
    UnsupportedMedia,
)
from gateway.intake.admission import Ticket
from gateway.intake.body import READ_SIZE, Body, Piece, bounded, limit_json_size, limit_json_values, multipart_events
from gateway.observe.phases import Phases
from gateway.peers.peer_entries import NOT_ADMITTED
from gateway.protocol.digests import Digest, hash_function
from gateway.protocol.request import parse_json
from gateway.spool.anonymous_files import NewFile
from gateway.spool.disk import on_disk
from gateway.spool.parts import Spool
from gateway.wire import Data, EndOfPart, Event, Headers, Part, parse_options_header

if TYPE_CHECKING:
    from gateway.studies.instance_rows import HeldInstance
    from gateway.studies.references import FetchOrder, Resolver

STRIDE = 1 * MiB
"""Bytes written before they are handed to the digest: each hand-over costs a wake-up of its thread."""


@dataclass(frozen=True)
class Received:
    """A request in words. ``instances`` are open files, attachments first; their bytes live as long as they do."""

    json: dict[str, Any]
    instances: list[BinaryIO]
    input_digest: str
    size: int
    in_memory: bool = True
    headers: tuple[Headers, ...] = ()
    """Those of the parts behind ``instances``, where the request had parts."""
    held: "tuple[HeldInstance, ...]" = ()
    """What the study store knows of ``instances``, where the request named them."""
    text: bytes = b""
    """The JSON as it was hashed, where it was not a part."""

    def names(self) -> tuple[str | None, ...]:
        """The names of the parts behind ``instances``; those of other files are None."""
        return tuple(map(_name, self.headers)) or (None,) * len(self.instances)


def _name(headers: Headers) -> str | None:
    return parse_options_header(headers.get("Content-Disposition", ""))[1].get("name") or None


@dataclass(frozen=True)
class ReceiveOptions:
    """Options of receiving a request: its ticket, its deadline (``time.monotonic``), and the place of its bytes.

    ``shared`` makes memory that another process can read. ``resolver`` finds the studies that a request names instead
    of bringing them, where there is a store; ``fetch`` brings one from a peer into it, where there are peers.
    ``lists`` are the parameters that are lists, also where one text alone arrives for them.
    """

    settings: Settings
    ticket: Ticket
    phases: Phases
    deadline: float = math.inf
    shared: NewFile | None = None
    resolver: "Resolver | None" = None
    fetch: "Callable[[FetchOrder], None] | None" = None
    lists: frozenset[str] = frozenset()

    def check(self) -> None:
        """Raises DeadlineExceeded once it is too late."""
        if time.monotonic() >= self.deadline:
            raise DeadlineExceeded("The request was not received before its deadline.")


class RequestReader:
    """Writes the parts of a request to the spool, and hashes them at the same time. Use as a context manager."""

    def __init__(self, receive_options: ReceiveOptions, expected: int | None, known: str = "") -> None:
        """``expected`` bytes at most, None where that is not known; ``known`` is their digest, if somebody knows it."""
        settings = self._settings = receive_options.settings
        self._known = known
        self._spool = Spool(
            threshold=settings.spool_threshold,
            folder=settings.spool_folder,
            expected=expected,
            shared=receive_options.shared,
        )
        self._new_digest = partial(Digest, hash_function(settings.digest), overlap=receive_options.ticket.idle_core)
        self._digest = self._new_digest()
        self._phases = receive_options.phases
        self._hashed = 0
        self._text: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._spool.size

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes to the current part."""
        self._spool.write(data)
        if self._spool.size - self._hashed >= STRIDE:
            with self._phases.measure("hash"):
                self._hand_over()

    def end_part(self) -> None:
        """The current part is complete."""
        self._spool.end_part()

    def begin(self, text: bytes) -> None:
        """Hash the JSON of a request whose parts are all files, before the first of them."""
        self._text = text
        self._digest.update(len(text), [text])

    def received_with(self, text: bytes, headers: tuple[Headers, ...] = ()) -> Received:
        """The request of JSON ``text``, in UTF-8, and of parts that are all files.

        Its digest is that of the text and the files after it. JSON that is known only after the files costs a second
        reading of them. Raises BrokenJSON.
        """
        limit_json_values(text, self._settings, "The JSON of the parameters")
        json = parse_json(text, None)
        with self._phases.measure("hash"):
            if text != self._text:
                self._digest.close()
                self._digest, self._hashed = self._new_digest(), 0
                self.begin(text)
            self._hand_over()
            digest = self._digest.hexdigest()
        size = self._spool.size + len(text)
        return Received(json, list(self._spool.parts()), digest, size, self._spool.in_memory, headers, text=text)

    def received(self, charset: str | None, headers: tuple[Headers, ...] = ()) -> Received:
        """The request, once all of it is written. Raises BrokenJSON for a first part that is no JSON object."""
        parts = self._spool.parts()
        if not parts:
            raise BrokenJSON("The body has no parts; the first should be a JSON object.")
        text = parts[0].getvalue()
        limit_json_values(text, self._settings, "The JSON part")
        json = parse_json(text, charset)
        with self._phases.measure("hash"):
            self._hand_over()
            digest = self._known or self._digest.hexdigest()
        return Received(json, list(parts[1:]), digest, self._spool.size, self._spool.in_memory, headers)

    def _hand_over(self) -> None:
        if not self._known:
            self._digest.update(self._spool.size - self._hashed, self._spool.since(self._hashed))
        self._hashed = self._spool.size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._digest.close()


Source = Callable[[ReceiveOptions], Received]
"""What reads one request's input."""


def receive_related(body: Body, options: dict[str, str], receive_options: ReceiveOptions) -> Received:
    """Read ``multipart/related``: the JSON, then the files. ``options`` are those of its Content-Type."""
    settings, reader = receive_options.settings, RequestReader(receive_options, body.length)
    headers: list[Headers] = []
    with reader, closing(multipart_events(body.pieces, options, settings, receive_options.ticket)) as events:
        for event in events:
            _take_event(event, reader, headers, settings)
        return reader.received(_charset(headers[0], options) if headers else None, tuple(headers[1:]))


def _take_event(event: Event, reader: RequestReader, headers: list[Headers], settings: Settings) -> None:
    match event:
        case Data(data):
            reader.write(data)
            if len(headers) == 1:
                limit_json_size(reader.size, settings, "The JSON part")
        case Part():
            headers.append(event.headers)
        case EndOfPart():
            reader.end_part()


def receive_words(body: Body, options: dict[str, str], receive_options: ReceiveOptions) -> Received:
    """Read JSON alone, which names its study."""
    text, charset = bytearray(), options.get("charset")
    for piece in body.pieces:
        text += piece
        limit_json_size(len(text), receive_options.settings, "The JSON body")
    limit_json_values(text, receive_options.settings, "The JSON body")
    words = parse_json(bytes(text), charset)
    path, resolver = named_study(words, receive_options.resolver), receive_options.resolver
    if path is not None:
        return _receive_study_path(bytes(text), path, charset, receive_options)
    assert resolver is not None  # it knows what is named
    return _receive_stored(bytes(text), words, charset, receive_options, resolver)


def named_study(words: dict[str, Any], resolver: "Resolver | None") -> str | None:
    """Return the studyPath of JSON that comes alone; None where it names stored instances.

    Raises BrokenJSON for a studyPath that is no path, UnsupportedMedia where it names no study.
    """
    if "studyPath" in words:
        path = words["studyPath"]
        if not isinstance(path, str) or not path:
            raise BrokenJSON("studyPath should be a string that names a folder or a file.")
        return path
    if resolver is None or not resolver.names(words):
        raise UnsupportedMedia(
            "application/json is read only with a studyPath, or naming a study that this gateway keeps; send DICOM as "
            "multipart/related."
        )
    return None


def _receive_study_path(text: bytes, path: str, charset: str | None, receive_options: ReceiveOptions) -> Received:
    from gateway.intake import study_path  # brings pydicom, which no other way of receiving needs

    return receive_files(text, study_path.open_study(path, receive_options.settings), receive_options, charset=charset)


def receive_files(
    json: bytes,
    files: Iterable[BinaryIO],
    receive_options: ReceiveOptions,
    *,
    charset: str | None = None,
    expected: int | None = None,
    digest: str = "",
    headers: tuple[Headers, ...] = (),
) -> Received:
    """Read a request from its JSON text and from open files, each closed once it is read.

    ``expected`` is the number of bytes of all of it where that is known, and ``digest`` theirs. ``headers`` are those
    of the files where they were parts. Raises BrokenJSON, DeadlineExceeded, StorageFull, and what the files raise.
    """
    with RequestReader(receive_options, expected, digest) as reader:
        reader.write(json)
        reader.end_part()
        for file in files:
            with file, on_disk("study"):
                while piece := file.read(READ_SIZE):
                    reader.write(piece)
            reader.end_part()
            receive_options.check()
        return reader.received(charset, headers)


def _receive_stored(
    text: bytes, words: dict[str, Any], charset: str | None, receive_options: ReceiveOptions, resolver: "Resolver"
) -> Received:
    """Receive stored instances as if they were sent, fetched before if need be; their digest may be known.

    Raises ParameterRefused, and what ``fetch`` raises.
    """
    order = resolver.order(words)
    if order is not None:
        if receive_options.fetch is None:
            raise ParameterRefused([("/from", NOT_ADMITTED)])
        receive_options.fetch(order)
    with resolver.resolve(words) as resolved:
        size = len(text) + sum(one.size for one in resolved.held)
        receive_options.ticket.expect(size)
        digest = resolver.input_digest(text, resolved)
        received = receive_files(text, resolved.files, receive_options, charset=charset, expected=size, digest=digest)
    return replace(received, json=resolver.without(received.json), held=resolved.held)


def _charset(headers: Headers, options: dict[str, str]) -> str | None:
    """The charset of the JSON part: its own, else that of the message, else the default."""
    own = parse_options_header(headers.get("Content-Type") or "")[1].get("charset")
    return own or options.get("charset")


def counted(pieces: Iterable[Piece], receive_options: ReceiveOptions) -> Iterator[Piece]:
    """Yield the pieces of a body, within its limit and its deadline. Raises LimitExceeded, DeadlineExceeded."""
    for piece in bounded(pieces, receive_options.settings):
        receive_options.check()
        receive_options.ticket.receive(len(piece))
        yield piece
    receive_options.ticket.reclaim(receive_options.deadline)
