"""A JSON part and the files that it announces: each file goes from the socket straight to where it is kept."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, Generic, TypeVar

from gateway.config import MiB, Settings
from gateway.errors import UnsupportedMedia
from gateway.intake.admission import Ticket
from gateway.intake.body import (
    body,
    bounded,
    content_length,
    limit_json_size,
    limit_json_values,
    multipart_events,
    required_media_type,
)
from gateway.studies.file_batch import FileBatch
from gateway.studies.stow_upload import DICOM_TYPE, StowUpload
from gateway.wire import Data, EndOfPart, Event, Part, parse_options_header

STRIDE = 2 * MiB
"""Bytes received before they take their turn: eight chunks come at once, and each turn wakes a thread."""

B = TypeVar("B", bound=FileBatch)


@contextmanager
def received(
    environ: dict[str, Any], settings: Settings, ticket: Ticket, open_batch: Callable[[bytes], B]
) -> Iterator[B]:
    """The files of a ``multipart/related`` body, all received and checked; what is not kept in the block is gone.

    ``open_batch`` makes their batch of the JSON part. Raises what it and the batch raise; UnsupportedMedia, BrokenBody,
    LimitExceeded, RequestStalled.
    """
    options = required_media_type(environ, "multipart/related")
    with ExitStack() as stack:
        chunk = _Chunk(settings, open_batch, stack)
        with closing(_events(environ, options, settings, ticket)) as events:
            for event in events:
                chunk.take(event)
        ticket.reclaim()
        yield chunk.batch


@contextmanager
def received_instances(
    environ: dict[str, Any], settings: Settings, ticket: Ticket, upload: StowUpload
) -> Iterator[StowUpload]:
    """The parts of a STOW-RS request, all received and judged; what is not kept in the block is gone.

    Raises UnsupportedMedia, BrokenBody, LimitExceeded, RequestStalled, StorageFull.
    """
    options = required_media_type(environ, "multipart/related")
    if options.get("type", DICOM_TYPE).lower() != DICOM_TYPE:
        raise UnsupportedMedia(
            "Send DICOM files, as parts of type application/dicom; metadata with bulk data is not stored here."
        )
    with upload, closing(_events(environ, options, settings, ticket)) as events:
        for event in events:
            match event:
                case Data(data):
                    upload.write(data)
                case Part(headers):
                    upload.begin_part(parse_options_header(headers.get("Content-Type", ""))[0])
                case EndOfPart():
                    upload.end()
        ticket.reclaim()
        yield upload


def received_form(environ: dict[str, Any], settings: Settings, ticket: Ticket) -> Generator[Event, None, None]:
    """The events of a ``multipart/form-data`` body (RFC 7578): use ``contextlib.closing``.

    Raises UnsupportedMedia, BrokenBody, LimitExceeded, RequestStalled.
    """
    return _events(environ, required_media_type(environ, "multipart/form-data"), settings, ticket)


def _events(
    environ: dict[str, Any], options: dict[str, str], settings: Settings, ticket: Ticket
) -> Generator[Event, None, None]:
    """The events of a multipart body. Raises BrokenBody, LimitExceeded, RequestStalled."""
    pieces = bounded(body(environ, content_length(environ), settings, ticket, STRIDE), settings)
    return multipart_events(pieces, options, settings, ticket)


class _Chunk(Generic[B]):
    """A chunk while it is received: first its JSON, then its files."""

    def __init__(self, settings: Settings, open_batch: Callable[[bytes], B], stack: ExitStack) -> None:
        self._settings, self._open_batch, self._stack = settings, open_batch, stack
        self._json: bytearray | None = bytearray()
        self._batch: B | None = None

    def take(self, event: Event) -> None:
        """The next event of the decoder."""
        if self._json is None:
            self._take_file(event)
        elif isinstance(event, Data):
            self._json += event.data
            limit_json_size(len(self._json), self._settings)
        elif isinstance(event, EndOfPart):
            limit_json_values(self._json, self._settings)
            batch = self._open_batch(bytes(self._json))
            self._stack.enter_context(batch)
            self._batch, self._json = batch, None

    @property
    def batch(self) -> B:
        """The files, once the JSON has come; the decoder lets no message end before."""
        assert self._batch is not None
        return self._batch

    def _take_file(self, event: Event) -> None:
        match event:
            case Data(data):
                self.batch.write(data)
            case Part():
                self.batch.begin()
            case EndOfPart():
                self.batch.end()
