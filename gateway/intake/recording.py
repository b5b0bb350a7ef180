"""A request that is kept to be executed later: its parts, end to end in one file, and their digests."""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from gateway.config import Settings
from gateway.dicom.reading.identity import identify
from gateway.errors import GatewayError
from gateway.intake.admission import Ticket
from gateway.intake.body import (
    READ_SIZE,
    Body,
    Piece,
    bounded,
    limit_json_size,
    limit_json_values,
    multipart_events,
)
from gateway.intake.receiving import Received, ReceiveOptions, receive_files
from gateway.intake.request_bodies import receive_body
from gateway.observe.phases import Phases
from gateway.protocol.request import parse_json
from gateway.wire import Data, EndOfPart, Event, Headers, Part, parse_options_header

JSON_TYPE, RELATED = "application/json", "multipart/related"


@dataclass
class RecordedBody:
    """The parts of a body, JSON first: ``sizes`` in bytes and sha256 ``digests`` in order.

    ``content_type`` is that of the whole body, ``headers`` are those of its parts. ``json`` is the text of the first.
    """

    content_type: str
    sizes: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    headers: list[list[tuple[str, str]]] = field(default_factory=list)
    json: bytearray = field(default_factory=bytearray)

    @property
    def digest(self) -> str:
        """The digest of the digests: the same for the same parts, whatever their framing."""
        return hashlib.sha256("\n".join(self.digests).encode()).hexdigest()

    @property
    def is_json(self) -> bool:
        """Return True for JSON alone, which names its study."""
        return parse_options_header(self.content_type)[0] == JSON_TYPE

    def parsed(self) -> dict[str, Any]:
        """Return the JSON. Raises BrokenJSON where the first part is no JSON object."""
        return parse_json(bytes(self.json), charset_of(self.content_type, self.headers))

    @property
    def words(self) -> dict[str, Any]:
        """Everything but the bytes, as JSON."""
        return {"content_type": self.content_type, "sizes": self.sizes, "headers": self.headers}

    def studies(self, file: BinaryIO) -> set[str]:
        """Return the Study Instance UIDs of its DICOM parts, which ``file`` begins with.

        A part that is no DICOM, or has a header that cannot be read, has none: the model decides about it.
        """
        uids = set()
        for begin, size in _places(self.sizes)[1:]:
            with suppress(GatewayError):
                uids.add(identify(Stretch.opened(file, begin, size)).study_instance_uid)
        return uids - {""}


def record(
    body: Body,
    settings: Settings,
    ticket: Ticket,
    write: Callable[[Piece], None],
    lists: frozenset[str] = frozenset(),
) -> RecordedBody:
    """Read a body, and ``write`` the bytes of its parts; ``lists`` are the parameters that are lists.

    A body whose parameters are not its first part is received first: its JSON is known at its end only.

    Raises BrokenBody, LimitExceeded, UnsupportedMedia, and what ``write`` raises.
    """
    media_type, options = body.media_type(settings)
    recorder = _Recorder(settings, RecordedBody(body.content_type), write)
    pieces = bounded(body.pieces, settings)
    if media_type == RELATED:
        with closing(multipart_events(pieces, options, settings, ticket)) as events:
            for event in events:
                recorder.take(event)
    elif media_type == JSON_TYPE:
        recorder.take_json(pieces)
    else:
        recorder.take_received(receive_body(body, ReceiveOptions(settings, ticket, Phases(), lists=lists)))
    limit_json_values(recorder.recorded.json, settings, "The JSON")
    ticket.reclaim()
    return recorder.recorded


def receive_recorded(words: dict[str, Any], file: BinaryIO, receive_options: ReceiveOptions) -> Received:
    """Receive a recorded body again, from a ``file`` that begins with its parts: a source for an exchange.

    Raises as ``receive_body``.
    """
    content_type, places = str(words["content_type"]), _places(words["sizes"])
    media_type = parse_options_header(content_type)[0]
    first = Stretch.opened(file, *places[0]).read() if places else b""
    if media_type == JSON_TYPE:
        return receive_body(Body(content_type, "", len(first), iter([first])), receive_options)
    headers = [Headers(tuple((name, value) for name, value in fields)) for fields in words["headers"]]
    size = sum(words["sizes"])
    receive_options.ticket.expect(size)
    files = (Stretch.opened(file, *place) for place in places[1:])
    return receive_files(
        first,
        files,
        receive_options,
        charset=charset_of(content_type, words["headers"]),
        expected=size,
        headers=tuple(headers[1:]),
    )


def recorded_json(words: dict[str, Any], file: BinaryIO) -> dict[str, Any] | None:
    """Return a recorded body that is JSON alone; None for one with files. Raises BrokenJSON."""
    content_type = str(words["content_type"])
    if parse_options_header(content_type)[0] != JSON_TYPE:
        return None
    text = Stretch.opened(file, 0, words["sizes"][0]).read()
    return parse_json(text, charset_of(content_type, words["headers"]))


def charset_of(content_type: str, headers: list[list[tuple[str, str]]]) -> str | None:
    """Return the charset of the JSON: its part's own, else that of the message; None for the default."""
    types = [value for fields in headers[:1] for name, value in fields if name.lower() == "content-type"]
    charsets = [parse_options_header(text)[1].get("charset") for text in (*types, content_type)]
    return next(filter(None, charsets), None)


class _Recorder:
    """The parts of a body while they are received."""

    def __init__(self, settings: Settings, recorded: RecordedBody, write: Callable[[Piece], None]) -> None:
        self.recorded = recorded
        self._settings, self._write = settings, write
        self._hash = hashlib.sha256()
        self._size = 0

    def take(self, event: Event) -> None:
        """Take the next event of the decoder."""
        match event:
            case Part():
                self.recorded.headers.append(list(event.headers))
            case Data(data):
                self._add(data)
            case EndOfPart():
                self._end()

    def take_json(self, pieces: Iterator[Piece]) -> None:
        """Take a body that is JSON alone."""
        for piece in pieces:
            self._add(piece)
        self._end()

    def take_received(self, received: Received) -> None:
        """Take a request that is received."""
        self._add(received.text)
        self._end()
        self.recorded.headers = [[], *map(list, received.headers or [Headers()] * len(received.instances))]
        for file in received.instances:
            while piece := file.read(READ_SIZE):
                self._add(piece)
            self._end()

    def _add(self, data: Piece) -> None:
        self._hash.update(data)
        self._size += len(data)
        if not self.recorded.sizes:
            limit_json_size(self._size, self._settings)
            self.recorded.json += data
        self._write(data)

    def _end(self) -> None:
        self.recorded.sizes.append(self._size)
        self.recorded.digests.append(self._hash.hexdigest())
        self._hash, self._size = hashlib.sha256(), 0


class Stretch(io.RawIOBase):
    """A part of a file as a file of its own, read by position: several may be read in turns."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size, self._position = file, start, size, 0

    @classmethod
    def opened(cls, file: BinaryIO, start: int, size: int) -> io.BufferedReader:
        """Return it buffered; to close it leaves the file open."""
        return io.BufferedReader(cls(file, start, size))

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move within the part."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read up to the end of the part."""
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._position)]
        self._file.seek(self._start + self._position)
        count = self._file.readinto(view) if view else 0  # type: ignore[attr-defined]
        self._position += count
        return int(count)


def _places(sizes: list[int]) -> list[tuple[int, int]]:
    """Return the start and the size of each part."""
    places, start = [], 0
    for size in sizes:
        places.append((start, size))
        start += size
    return places
