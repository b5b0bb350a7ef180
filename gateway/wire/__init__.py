"""multipart/related on the wire (RFC 2387 on RFC 2046): bytes to events and back. No I/O, the standard library only."""

from gateway.wire.decoder import Decoder, Limits
from gateway.wire.encoder import Encoder
from gateway.wire.events import Data, EndOfMessage, EndOfPart, Event, Part
from gateway.wire.headers import Headers, parse_options_header
from gateway.wire.message import OutgoingPart, content_length, decode, encode, fill, frame, new_boundary, sized

__all__ = [
    "Data",
    "Decoder",
    "Encoder",
    "EndOfMessage",
    "EndOfPart",
    "Event",
    "Headers",
    "Limits",
    "OutgoingPart",
    "Part",
    "content_length",
    "decode",
    "encode",
    "fill",
    "frame",
    "new_boundary",
    "parse_options_header",
    "sized",
]
