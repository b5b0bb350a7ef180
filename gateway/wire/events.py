"""Events of a multipart message in their order, produced by the decoder and consumed by the encoder.

A message is ``(Part Data* EndOfPart)+ EndOfMessage``. The events are frozen: nobody who is handed one can change it for
the next.
"""

from dataclasses import dataclass

from gateway.wire.headers import Headers


@dataclass(frozen=True, slots=True)
class Part:
    """A part begins; ``headers`` are its header fields (RFC 2045 3), possibly none."""

    headers: Headers = Headers()


@dataclass(frozen=True, slots=True)
class Data:
    """Some bytes of the current part, never none.

    From the decoder ``data`` is a memoryview (format B) into the chunk that was received: it keeps that chunk alive,
    and a caller who reuses a buffer must be done with the view first.
    """

    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class EndOfPart:
    """The current part is complete."""


@dataclass(frozen=True, slots=True)
class EndOfMessage:
    """The close delimiter went by. What follows it is still checked, so ask ``Decoder.close`` as well."""


Event = Part | Data | EndOfPart | EndOfMessage
