"""A form of MONAI Label's clients -> a request: the field ``params`` has JSON, and a file has the image.

The image is a file, several of them, or an archive of them. Its name goes nowhere.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import BinaryIO, cast

from gateway.contract.requests import JSON
from gateway.errors import BrokenBody, NotOffered, ParameterRefused, UnsupportedMedia
from gateway.intake.body import READ_SIZE, Body, limit_json_size, limit_json_values, multipart_events
from gateway.intake.receiving import Received, ReceiveOptions, RequestReader, counted
from gateway.intake.zip_bodies import UnpackingBudget, receive_archive
from gateway.protocol.request import parse_json
from gateway.spool.parts import PartFile
from gateway.wire import Data, EndOfPart, Event, Headers, Part, parse_options_header

FORM = "multipart/form-data"
PARAMS, LABEL = "params", "label"
IMAGES = frozenset({"file", "files"})
"""The fields of an image: that of an inference, and that of a session."""
ZIP = b"PK\x03\x04"
"""The first bytes of an archive (APPNOTE 4.3.7)."""
GZIP = b"\x1f\x8b"
"""The first bytes of a gzip file (RFC 1952 2.3.1)."""
WHAT = "The field params"

Translate = Callable[[JSON], bytes]
"""From the object in ``params`` to the JSON of the request, in UTF-8. Raises ParameterRefused."""


def receive_label_form(
    body: Body, translate: Translate, receive_options: ReceiveOptions, *, unpack: bool = False
) -> Received:
    """Read a form, or no body at all; without a file the request has no instances.

    The files of an archive are those of the request. With ``unpack`` a file of gzip is unpacked too, for requests that
    read it again and again. Raises BrokenBody, BrokenJSON, LimitExceeded, UnsupportedMedia, NotOffered for a label
    beside the image, what ``translate`` raises, DeadlineExceeded, StorageFull.
    """
    media_type, options = body.media_type(receive_options.settings)
    if media_type != FORM and (media_type or body.length):
        raise UnsupportedMedia(f"Send {FORM}: the field params with JSON, and the image as the file.")
    receive_options.ticket.expect(body.length or 0)
    with RequestReader(receive_options, body.length) as reader:
        form = _LabelForm(reader, translate, receive_options)
        if media_type == FORM:
            pieces = counted(body.pieces, receive_options)
            events = multipart_events(pieces, options, receive_options.settings, receive_options.ticket)
            with closing(events):
                for event in events:
                    form.take(event)
        received = reader.received_with(form.text())
    return _unpacked(received, form.text(), receive_options, gzipped=unpack)


class _LabelForm:
    """A form while it is received."""

    def __init__(self, reader: RequestReader, translate: Translate, receive_options: ReceiveOptions) -> None:
        self._reader, self._translate, self._settings = reader, translate, receive_options.settings
        self._text: bytes | None = None
        self._params: bytearray | None = None
        self._field: bytearray | None = None
        """The bytes of the current part, where it is a field."""

    def take(self, event: Event) -> None:
        """Take the next event of the decoder."""
        match event:
            case Data(data):
                if self._field is None:
                    self._reader.write(data)
                else:
                    self._field += data
                    limit_json_size(len(self._field), self._settings, WHAT)
            case Part(headers):
                self._begin(headers)
            case EndOfPart():
                if self._field is None:
                    self._reader.end_part()

    def text(self) -> bytes:
        """Return the JSON of the request; no field ``params`` counts as an empty object."""
        if self._text is None:
            params = self._params or b"{}"
            limit_json_values(params, self._settings, WHAT)
            self._text = self._translate(parse_json(bytes(params), None))
        return self._text

    def _begin(self, headers: Headers) -> None:
        word, options = parse_options_header(headers.get("Content-Disposition", ""))
        name = options.get("name", "")
        if word != "form-data" or not name:
            raise BrokenBody("A part of the form has no name.")
        if not {"filename", "filename*"}.isdisjoint(options):
            self._begin_file(name)
            return
        self._field = bytearray()
        if name == PARAMS:
            if self._params is not None or self._text is not None:
                raise ParameterRefused([("", "The field params should be there once, and before the file.")])
            self._params = self._field

    def _begin_file(self, name: str) -> None:
        if name == LABEL:
            raise NotOffered("No model here takes a label or scribbles beside the image; send points instead.")
        if name not in IMAGES:
            raise ParameterRefused([("", "A file of the form should be in the field file, or files for a session.")])
        self._field = None
        if self._text is None:
            self._reader.begin(self.text())


def _unpacked(received: Received, text: bytes, receive_options: ReceiveOptions, *, gzipped: bool) -> Received:
    """Return the files of an archive in place of it, and what a file of gzip unpacks to; any other as it is."""
    if len(received.instances) != 1:
        return received
    (file,) = received.instances
    assert isinstance(file, PartFile)  # of a spool
    head = bytes(file.getbuffer()[: len(ZIP)])
    if head == ZIP:
        return receive_archive(Body("application/zip", "", len(file), _pieces(file)), text, receive_options)
    return _gunzipped(file, text, receive_options) if gzipped and head.startswith(GZIP) else received


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(READ_SIZE):
        yield piece


def _gunzipped(file: PartFile, text: bytes, receive_options: ReceiveOptions) -> Received:
    budget = UnpackingBudget(receive_options, len(file))
    with RequestReader(receive_options, None) as reader, gzip.GzipFile(fileobj=file) as unpacked:
        try:
            for piece in _pieces(cast(BinaryIO, unpacked)):
                budget.take(len(piece))
                reader.write(piece)
        except (OSError, EOFError, zlib.error) as error:
            sentence = "A file is badly packed by gzip or ends early; pack and send it again."
            raise BrokenBody(sentence, private=type(error).__name__) from error
        reader.end_part()
        return reader.received_with(text)
