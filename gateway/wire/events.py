"""Events of a multipart message in their order, produced by the decoder and consumed by the encoder.

A message is ``(Part Data* EndOfPart)+ EndOfMessage``. The events are frozen, so that no consumer
can change one for the next.
"""

from dataclasses import dataclass

from gateway.wire.headers import Headers


@dataclass(frozen=True, slots=True)
class Part:
    """The beginning of a part; ``headers`` are its header fields (RFC 2045 3), possibly empty."""

    headers: Headers = Headers()


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of the current part, at least one.

    The decoder's ``data`` is a memoryview (format B) into the received chunk. It keeps that chunk alive: use the view
    before the buffer is filled again.
    """

    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class EndOfPart:
    """The end of the current part."""


@dataclass(frozen=True, slots=True)
class EndOfMessage:
    """The close delimiter. The epilogue is checked too, so call ``Decoder.close`` as well."""


Event = Part | Data | EndOfPart | EndOfMessage
