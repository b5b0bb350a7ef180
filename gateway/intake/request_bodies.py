"""The media types of a request's body, each with the function that reads it."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from gateway.errors import UnsupportedMedia
from gateway.intake.body import Body
from gateway.intake.forms import receive_form
from gateway.intake.receiving import (
    Received,
    ReceiveOptions,
    RequestReader,
    counted,
    receive_related,
    receive_words,
)
from gateway.intake.text_fields import Fields
from gateway.intake.zip_bodies import receive_zip


def receive_one_file(body: Body, options: dict[str, str], receive_options: ReceiveOptions) -> Received:
    """Read a body that is one file; its parameters are the query's. Raises ParameterRefused."""
    text = Fields(receive_options.settings, receive_options.lists, body.query).text()
    with RequestReader(receive_options, body.length) as reader:
        reader.begin(text)
        for piece in body.pieces:
            with receive_options.ticket.turn(piece):
                reader.write(memoryview(piece))
        reader.end_part()
        return reader.received_with(text)


Reader = Callable[[Body, dict[str, str], ReceiveOptions], Received]
"""Reads a body; the dict has the parameters of its Content-Type."""

READERS: Mapping[str, Reader] = {
    "multipart/related": receive_related,
    "application/json": receive_words,
    "multipart/form-data": receive_form,
    "application/dicom": receive_one_file,
    "application/octet-stream": receive_one_file,
    "application/x-nifti": receive_one_file,
    "application/gzip": receive_one_file,
    "application/zip": receive_zip,
    "application/x-zip-compressed": receive_zip,
}


def receive_body(body: Body, receive_options: ReceiveOptions, *, any_file: bool = False) -> Received:
    """Read a request from its body; with ``any_file`` a body of another media type is the request's one file.

    Raises BrokenBody, BrokenJSON, DeadlineExceeded, LimitExceeded, ParameterRefused, UnsupportedMedia and those of a
    studyPath.
    """
    media_type, options = body.media_type(receive_options.settings)
    reader = READERS.get(media_type)
    if reader is None and any_file and not media_type.startswith("multipart/"):
        reader = receive_one_file
    if reader is None:
        raise UnsupportedMedia(
            f"Send {', '.join(READERS)}{'' if media_type else '; this request has no Content-Type'}."
        )
    receive_options.ticket.expect(body.length or 0)
    return reader(replace(body, pieces=counted(body.pieces, receive_options)), options, receive_options)
