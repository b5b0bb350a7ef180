"""NIfTI files by their first bytes: what each is, in the words of the standard's ``magic``, without a library.

A file begins with the size of its header, in either byte order: 348 (NIfTI-1, nifti1.h) or 540 (NIfTI-2, nifti2.h).
"""

import zlib
from enum import StrEnum

GZIP = b"\x1f\x8b"
LARGEST_HEADER = 540
"""Bytes of the header of NIfTI-2, the longer one."""
_SIZES = {size.to_bytes(4, order) for size in (348, LARGEST_HEADER) for order in ("little", "big")}
_MAGIC_1, _MAGIC_2 = 344, 4
"""Where the magic is, in NIfTI-1 and in NIfTI-2."""


class NiftiKind(StrEnum):
    """What a file is: header and voxels in one, or the header of a pair, whose voxels are in another file."""

    SINGLE = "single"
    PAIR = "pair"


def nifti_kind(head: bytes) -> NiftiKind | None:
    """Return what a file with these first bytes is, packed by gzip or not; None for one that is no NIfTI.

    A header of Analyze 7.5, which has no magic, is one of a pair.
    """
    head = unpacked_head(head, LARGEST_HEADER) if head.startswith(GZIP) else head
    if len(head) < _MAGIC_1 + 4 or head[:4] not in _SIZES:
        return None
    if head[_MAGIC_2:].startswith(b"n+2\0") or head[_MAGIC_1:].startswith(b"n+1\0"):
        return NiftiKind.SINGLE
    dimensions = {head[40:42], head[41:39:-1]}  # dim[0] of either byte order
    pair = head[_MAGIC_2:].startswith(b"ni2\0") or head[_MAGIC_1:].startswith(b"ni1\0")
    if pair or dimensions & {bytes([count, 0]) for count in range(1, 8)}:
        return NiftiKind.PAIR
    return None


def unpacked_head(head: bytes, size: int) -> bytes:
    """Return the first ``size`` bytes of what ``head``, the beginning of a gzip file, unpacks to; b"" if broken."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, size)
    except zlib.error:
        return b""
