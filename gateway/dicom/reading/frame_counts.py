"""The number of frames that a header states, compared with what the file holds.

Frames that are not counted would be left out without a word, and pixels of another size would be shifted.
"""

from functools import lru_cache

from pydicom import Dataset
from pydicom.uid import UID

from gateway.dicom.reading import raw_values
from gateway.dicom.reading.attributes import sequence, tag, text, unreadable
from gateway.dicom.reading.elements import UNDEFINED

_GROUPS = "PerFrameFunctionalGroupsSequence"


def check(header: Dataset, frames: int, length: int | None, size: int) -> None:
    """Refuse more frames, or more bytes of uncompressed pixels, than the header states; naming the attribute.

    ``length`` is that of the pixel element, None where it is unknown; ``size`` is that of the file, in which each frame
    takes at least a byte. Other sizes that are too small are refused by the decoder.
    """
    if frames > 1 and frames > (size if length is None or length == UNDEFINED else length):
        raise unreadable("NumberOfFrames", f"states {frames}, and the file has not as many bytes of pixels")
    if tag(_GROUPS) in header and len(sequence(header, _GROUPS) or ()) > frames:
        raise unreadable("NumberOfFrames", f"is absent or less than the number of items of {_GROUPS}")
    if length is not None:
        check_length(header, frames, length)


def check_length(header: Dataset, frames: int, length: int) -> None:
    """Refuse a pixel element in which uncompressed frames lie that the header does not count."""
    bits = 0 if length == UNDEFINED else _frame_bits(header)
    if bits and length >= _bytes(bits * frames) + _bytes(bits):
        raise unreadable("NumberOfFrames", f"states {frames}, and pixel data of more frames are in the file")


def check_padding(rest: bytes) -> None:
    """Refuse what follows the stated frames, unless it is zero: some devices pad to a block, and pydicom reads that."""
    if rest.strip(b"\0"):
        raise unreadable("PixelData", "is longer than Rows, Columns, Bits Allocated and Number of Frames state")


def stated_size(header: Dataset, frames: int) -> int:
    """Bytes of uncompressed frames (PS3.3 C.7.6.3), without padding; 0 where the header does not state them."""
    return _bytes(_frame_bits(header) * frames)


def _bytes(bits: int) -> int:
    return -(-bits // 8)


def _frame_bits(header: Dataset) -> int:
    """Bits of one uncompressed frame (PS3.3 C.7.6.3); 0 where the header does not state them."""
    if not _is_native(raw_values.uid(header.file_meta, "TransferSyntaxUID")):
        return 0
    rows, columns, samples, allocated = (
        raw_values.short(header, name) or 0 for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    )
    bits = rows * columns * samples * allocated
    return bits * 2 // 3 if _is_subsampled(header) else bits


def _is_subsampled(header: Dataset) -> bool:
    stated = raw_values.encoded(header, "PhotometricInterpretation")
    if stated is None:
        return text(header, "PhotometricInterpretation") == "YBR_FULL_422"
    return stated.strip(b" \0") == b"YBR_FULL_422"


@lru_cache(64)
def _is_native(syntax: str) -> bool:
    uid = UID(syntax)
    return not uid.is_private and uid.is_transfer_syntax and not uid.is_encapsulated
