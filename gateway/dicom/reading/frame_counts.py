"""The number of frames that a header states, compared with what the file holds.

Frames that are not counted would be left out without a word, and pixels of another size would be shifted.
"""

from pydicom import Dataset
from pydicom.uid import UID

from gateway.dicom.reading import raw_values
from gateway.dicom.reading.attributes import sequence, tag, text, unreadable

_GROUPS = "PerFrameFunctionalGroupsSequence"
_UNDEFINED = 0xFFFFFFFF


def check(header: Dataset, frames: int, length: int | None) -> None:
    """Refuse more frames, or more bytes of uncompressed pixels, than the header states; naming the attribute.

    ``length`` is that of the pixel element, None where it is unknown. Fewer bytes are refused by the decoder.
    """
    if tag(_GROUPS) in header and len(sequence(header, _GROUPS) or ()) > frames:
        raise unreadable("NumberOfFrames", f"is absent or less than the number of items of {_GROUPS}")
    if length is not None:
        check_length(header, frames, length)


def check_length(header: Dataset, frames: int, length: int) -> None:
    """Refuse a pixel element in which uncompressed frames lie that the header does not count."""
    one, stated = stated_size(header, 1), stated_size(header, frames)
    if stated and length != _UNDEFINED and length >= stated + one:
        raise unreadable("NumberOfFrames", f"states {frames}, and pixel data of more frames are in the file")


def check_padding(rest: bytes) -> None:
    """Refuse what follows the stated frames, unless it is zero: some devices pad to a block, and pydicom reads that."""
    if rest.strip(b"\0"):
        raise unreadable("PixelData", "is longer than Rows, Columns, Bits Allocated and Number of Frames state")


def stated_size(header: Dataset, frames: int) -> int:
    """Bytes of uncompressed frames (PS3.3 C.7.6.3), without padding; 0 where the header does not state them."""
    syntax = UID(text(header.file_meta, "TransferSyntaxUID"))
    if syntax.is_private or not syntax.is_transfer_syntax or syntax.is_encapsulated:
        return 0
    return -(-_frame_bits(header) * frames // 8)


def _frame_bits(header: Dataset) -> int:
    """Bits of one uncompressed frame (PS3.3 C.7.6.3); 0 where the header does not state them."""
    rows, columns, samples, allocated = (
        raw_values.short(header, name) or 0 for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    )
    bits = rows * columns * samples * allocated
    return bits * 2 // 3 if text(header, "PhotometricInterpretation") == "YBR_FULL_422" else bits
