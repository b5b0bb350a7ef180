"""``multipart/form-data`` (RFC 7578) -> a request: files are the study and its attachments, fields the parameters.

requests' ``files=``, ``FormData`` of browsers and Node, and ``curl -F`` send it. A file goes to the spool as it
arrives, and its name nowhere.
"""

from contextlib import closing

from gateway.errors import BrokenBody
from gateway.intake.body import Body, limit_json_size, multipart_events
from gateway.intake.receiving import Received, ReceiveOptions, RequestReader
from gateway.intake.text_fields import WHAT, WHOLE, Fields
from gateway.wire import Data, EndOfPart, Event, Headers, Part, parse_options_header

CHARSET = "_charset_"
"""The field that names the charset of those after it (RFC 7578 4.6)."""


def receive_form(body: Body, options: dict[str, str], receive_options: ReceiveOptions) -> Received:
    """Read ``multipart/form-data``, whatever the order of its fields and files.

    Raises BrokenBody, BrokenJSON, LimitExceeded, ParameterRefused, DeadlineExceeded, StorageFull.
    """
    with RequestReader(receive_options, body.length) as reader:
        form = _Form(reader, receive_options, body.query)
        settings, ticket = receive_options.settings, receive_options.ticket
        with closing(multipart_events(body.pieces, options, settings, ticket)) as events:
            for event in events:
                form.take(event)
        return form.received()


class _Form:
    """A form while it is received."""

    def __init__(self, reader: RequestReader, receive_options: ReceiveOptions, query: str) -> None:
        self._reader, self._settings = reader, receive_options.settings
        self._fields = Fields(self._settings, receive_options.lists, query)
        self._files: list[Headers] = []
        self._default: str | None = None
        self._headers, self._name = Headers(), ""
        self._value: bytearray | None = None
        """Of the current part, where it is a field."""
        self._started = 0
        """Bytes of the files before the current one."""
        self._unnamed, self._begun = False, False

    def take(self, event: Event) -> None:
        """Take the next event of the decoder."""
        match event:
            case Data(data):
                if self._value is None:
                    self._reader.write(data)
                else:
                    self._value += data
                    limit_json_size(len(self._value), self._settings, WHAT)
            case Part(headers):
                self._begin(headers)
            case EndOfPart():
                self._end()

    def received(self) -> Received:
        """Return the request, once the form has ended."""
        return self._reader.received_with(self._fields.text(), tuple(self._files))

    def _begin(self, headers: Headers) -> None:
        word, options = parse_options_header(headers.get("Content-Disposition", ""))
        name = options.get("name", "")
        if word != "form-data" or not name:
            raise BrokenBody(
                'A part of the form has no name; write Content-Disposition: form-data; name="..." in each.'
            )
        self._headers, self._name = headers, name
        is_file = name != WHOLE and not {"filename", "filename*"}.isdisjoint(options)
        self._unnamed = options.get("filename") == ""
        self._value = None if is_file else bytearray()
        if is_file:
            self._started = self._reader.size
            if not self._begun:
                self._reader.begin(self._fields.text())
                self._begun = True

    def _end(self) -> None:
        if self._value is not None:
            self._end_field(bytes(self._value))
        elif self._reader.size > self._started or not self._unnamed:  # else a browser's input without a file
            self._reader.end_part()
            self._files.append(self._headers)

    def _end_field(self, value: bytes) -> None:
        if self._name == CHARSET:
            self._default = value.decode("ascii", "replace")
            return
        own = parse_options_header(self._headers.get("Content-Type", ""))[1].get("charset")
        self._fields.add(self._name, value, own or self._default)
