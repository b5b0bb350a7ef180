"""A body of JSON and the bytes of its tensors, as the Open Inference Protocol sends it, to the request's files.

Each tensor of numbers is a file, and each element of a tensor of files. A byte is copied once, from the connection to
the spool, on which the model's array lies.
"""

from collections.abc import Callable

from gateway.contract.requests import JSON
from gateway.errors import BrokenBody, LimitExceeded, ParameterRefused, UnsupportedMedia
from gateway.intake.body import Body, limit_json_size, limit_json_values
from gateway.intake.piece_stream import PieceStream
from gateway.intake.receiving import Received, ReceiveOptions, RequestReader, counted
from gateway.protocol.oip.infer_requests import PREFIX, InferRequest, InputTensor
from gateway.protocol.request import parse_json
from gateway.protocol.tensors import BYTES

MEDIA_TYPES = frozenset({"", "application/json", "application/octet-stream"})
"""Media types of a request; tritonclient states none."""
READ_ALL = 1 << 62
"""More bytes than any body has."""

Translate = Callable[[JSON], InferRequest]
"""From the JSON of a request to the request in words. Raises ParameterRefused."""


def receive_tensors(body: Body, header: int | None, translate: Translate, receive_options: ReceiveOptions) -> Received:
    """Read a request whose JSON has ``header`` bytes, None where it is the whole body.

    Raises what ``request_bodies.receive_body`` raises, and what ``translate`` raises.
    """
    _check_head(body, header, receive_options)
    receive_options.ticket.expect(body.length or 0)
    stream = PieceStream(counted(body.pieces, receive_options))
    text = _json(stream, header, receive_options)
    infer = translate(parse_json(text, None))
    if body.length is not None and header is not None and body.length - header != infer.size:
        sentence = f"The inputs state {infer.size} bytes after the JSON; the body has {body.length - header}."
        raise ParameterRefused([("/inputs", sentence)])
    _limit_files(infer, receive_options)
    words = infer.json()
    in_json = 8 * len(text) if any(one.size is None for one in infer.inputs) else 0
    with RequestReader(receive_options, len(words) + infer.size + in_json) as reader:
        reader.write(words)
        reader.end_part()
        for one in infer.inputs:
            _receive(one, stream, reader)
            receive_options.check()
        if any(stream.take(READ_ALL)):
            raise BrokenBody("The body goes on after the last tensor; send it again.")
        return reader.received(None)


def _check_head(body: Body, header: int | None, receive_options: ReceiveOptions) -> None:
    media_type, _ = body.media_type(receive_options.settings)
    if media_type not in MEDIA_TYPES:
        raise UnsupportedMedia("Send application/octet-stream, JSON and then tensors, or application/json.")
    limit_json_size(header or 0, receive_options.settings)


def _json(stream: PieceStream, header: int | None, receive_options: ReceiveOptions) -> bytes:
    text = bytearray()
    for piece in stream.take(READ_ALL if header is None else header):
        text += piece
        limit_json_size(len(text), receive_options.settings)
    limit_json_values(text, receive_options.settings)
    if header is not None and len(text) < header:
        raise BrokenBody(f"The JSON should have {header} bytes; the body ends after {len(text)}.")
    return bytes(text)


def _limit_files(infer: InferRequest, receive_options: ReceiveOptions) -> None:
    most = receive_options.settings.max_parts
    if sum(one.tensor.size if one.files else 1 for one in infer.inputs) > most:
        raise LimitExceeded("max_parts", most, "parts", what="The request")


def _receive(one: InputTensor, stream: PieceStream, reader: RequestReader) -> None:
    """Write the bytes of a tensor to the spool: a file, or one for each element of BYTES."""
    if one.size is None:
        for data in one.pieces():
            reader.write(data)
            reader.end_part()
    elif one.tensor.datatype == BYTES:
        _receive_elements(one, one.size, stream, reader)
    else:
        _copy(one.size, stream, reader)


def _receive_elements(one: InputTensor, size: int, stream: PieceStream, reader: RequestReader) -> None:
    """Elements of BYTES, each after its length. Raises ParameterRefused where these do not add up to the size."""
    left = size
    for after in range(one.tensor.size - 1, -1, -1):
        prefix = b"".join(map(bytes, stream.take(PREFIX)))
        length, left = int.from_bytes(prefix, "little"), left - PREFIX
        if length > left - after * PREFIX or (not after and length != left):
            raise one.fault("parameters/binary_data_size", "The lengths of the elements do not add up to the size.")
        _copy(length, stream, reader)
        left -= length
    if left:
        raise one.fault("parameters/binary_data_size", "The lengths of the elements do not add up to the size.")


def _copy(size: int, stream: PieceStream, reader: RequestReader) -> None:
    for piece in stream.take(size):
        reader.write(piece)
        size -= len(piece)
    if size:
        raise BrokenBody(f"The body ended {size} bytes before the end of a tensor; send it again.")
    reader.end_part()
