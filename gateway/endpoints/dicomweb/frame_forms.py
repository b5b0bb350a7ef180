"""The form of frames that a request accepts: decoded, or as the codestreams that are stored (PS3.18 8.7.3)."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from gateway.dicom.web.frames import StoredImage
from gateway.dicom.web.transcoding import DEFAULT, refuse_undecodable
from gateway.errors import NotAcceptable, StudyNotFound
from gateway.protocol.media_ranges import ANY, MULTIPART, MediaRange, covers

OCTETS = "application/octet-stream"
_ALIASES = {"image/jls": "image/x-jls", "image/dicom-rle": "image/x-dicom-rle"}
"""Older names of media types, which dicomweb-client sends too."""


class FrameForm(NamedTuple):
    """The form of the frames of a response."""

    multipart: bool
    media_type: str
    syntax: str

    @property
    def content_type(self) -> str:
        """The Content-Type of a part."""
        return f"{self.media_type}; transfer-syntax={self.syntax}"

    def bytes_of(self, image: StoredImage, number: int) -> bytes:
        """Return a frame, counted from 0, in this form."""
        return image.decoded(number) if self.media_type == OCTETS else image.codestream(number)


def frame_numbers(text: str, image: StoredImage) -> list[int]:
    """Return the frames of a path such as ``1,3``, counted from 0. Raises StudyNotFound for one that is none."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) <= 9 for part in parts):
        raise StudyNotFound("Frames are numbers from 1 with commas between.")
    numbers = [int(part) - 1 for part in parts]
    image.check(numbers)
    return numbers


def frame_form(ranges: Sequence[MediaRange], image: StoredImage, file: BinaryIO, count: int) -> FrameForm:
    """Return the first acceptable form. Raises NotAcceptable."""
    for form in _forms(ranges, image, count):
        if form.media_type == OCTETS:
            refuse_undecodable(file, image.syntax)
        return form
    stored = f", or as {image.media_type} with transfer-syntax={image.syntax}" if image.media_type else ""
    raise NotAcceptable(
        f'These frames are sent as multipart/related; type="{OCTETS}" in Explicit VR Little Endian{stored};'
        " one frame alone also without multipart/related."
    )


def _forms(ranges: Sequence[MediaRange], image: StoredImage, count: int) -> Iterator[FrameForm]:
    for one in ranges:
        multipart = one.covers(MULTIPART)
        wanted = one.part_type if one.media_type == MULTIPART else ANY if multipart else one.media_type
        if not multipart and count > 1:
            continue
        if covers(wanted, OCTETS) and one.transfer_syntax in ("", DEFAULT):
            yield FrameForm(multipart, OCTETS, DEFAULT)
        elif _takes_stored(wanted, one.transfer_syntax, image):
            yield FrameForm(multipart, image.media_type, image.syntax)
        elif covers(wanted, OCTETS) and one.transfer_syntax == "*":
            yield FrameForm(multipart, OCTETS, DEFAULT)


def _takes_stored(wanted: str, syntax: str, image: StoredImage) -> bool:
    names = image.media_type, _ALIASES.get(image.media_type, "")
    return bool(image.media_type) and syntax in ("", "*", image.syntax) and any(covers(wanted, one) for one in names)
