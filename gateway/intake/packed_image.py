"""A body that is one packed array, as nnInteractive's client sends its image, to a request with a tensor.

The array goes block by block from the connection to the spool, on which the model's own array lies.
"""

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.contract.requests import JSON, LONGEST_MODALITY
from gateway.errors import BrokenBody, ParameterRefused
from gateway.intake.admission import decoded_bytes
from gateway.intake.body import Body, required_octets
from gateway.intake.piece_stream import PieceStream
from gateway.intake.receiving import Received, ReceiveOptions, RequestReader, counted
from gateway.protocol.nninteractive.packed_arrays import PackedHead, read_array, read_head
from gateway.protocol.tensors import BYTES, MEMBER, Tensor

ALIGNMENT = 64
"""The JSON is filled up with spaces to a multiple of so many bytes, so that numbers after it lie as numpy puts them."""


@dataclass(frozen=True)
class ImageProperties:
    """What a request states of its image: mm along (slice, row, column), and the modality; None where it does not."""

    spacing: tuple[float, float, float] | None
    modality: str | None

    @classmethod
    def of(cls, meta: JSON, modality: str) -> "ImageProperties":
        """Read the member ``image_properties``; ``modality`` is the one where it states none, "" for none.

        Members that are not known here are not read. Raises ParameterRefused.
        """
        at = "/image_properties"
        stated = meta.get("image_properties") or {}
        if not isinstance(stated, dict):
            raise ParameterRefused([(at, "The properties of the image should be an object.")])
        spacing, word = stated.get("spacing"), stated.get("modality") or modality or None
        if spacing is not None and not (isinstance(spacing, list) and len(spacing) == 3 and all(map(_is_mm, spacing))):
            raise ParameterRefused([(f"{at}/spacing", "The spacing should be three numbers of mm above 0.")])
        if word is not None and not (isinstance(word, str) and word.isascii() and len(word) <= LONGEST_MODALITY):
            sentence = f"The modality should be 1 to {LONGEST_MODALITY} ASCII characters, such as CT."
            raise ParameterRefused([(f"{at}/modality", sentence)])
        return cls(None if spacing is None else (spacing[0], spacing[1], spacing[2]), word)

    def tensors(self, name: str) -> list[tuple[Tensor, bytes]]:
        """Return what they are as tensors beside the one with this name."""
        found = []
        if self.spacing is not None:
            found.append((Tensor(f"{name}.spacing", "FP64", (3,)), struct.pack("<3d", *self.spacing)))
        if self.modality is not None:
            found.append((Tensor(f"{name}.modality", BYTES, (1,)), self.modality.encode()))
        return found


def receive_packed_image(body: Body, name: str, properties: ImageProperties, options: ReceiveOptions) -> Received:
    """Read a packed array of (1, slice, row, column) as the Volume of the argument ``name``.

    Raises UnsupportedMedia, BrokenBody, ParameterRefused, LimitExceeded, DeadlineExceeded, StorageFull.
    """
    required_octets(body, options.settings)
    options.ticket.expect(body.length or 0)
    stream = PieceStream(counted(body.pieces, options))
    most = decoded_bytes(options.settings, options.settings.max_body_bytes if body.length is None else body.length)
    head = read_head(stream.exactly, most, "max_decoded_bytes")
    if len(head.shape) != 4 or head.shape[0] != 1:
        raise ParameterRefused([("", f"The image should have the axes 1, slice, row, column; it has {head.shape}.")])
    options.ticket.expect(head.nbytes)
    beside = properties.tensors(name)
    words = _words(Tensor(name, head.datatype, head.shape[1:]), [tensor for tensor, _ in beside])
    with RequestReader(options, len(words) + head.nbytes + sum(len(data) for _, data in beside)) as reader:
        for part in [words, None, *(data for _, data in beside)]:
            if part is None:
                _unpack(head, stream, reader, options)
            else:
                reader.write(part)
            reader.end_part()
        return reader.received(None)


def _unpack(head: PackedHead, stream: PieceStream, reader: RequestReader, options: ReceiveOptions) -> None:
    for piece in read_array(head, stream.exactly):
        reader.write(piece)
        options.check()
    if any(stream.take(1)):
        raise BrokenBody("The body goes on after its array; send it again.")


def _words(image: Tensor, beside: Sequence[Tensor]) -> bytes:
    """Return the JSON of the request, which describes its tensors."""
    entries = [replace(tensor, file=place).entry() for place, tensor in enumerate([image, *beside])]
    text = json.dumps({MEMBER: entries}).encode()
    return text.ljust(math.ceil(len(text) / ALIGNMENT) * ALIGNMENT)


def _is_mm(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
