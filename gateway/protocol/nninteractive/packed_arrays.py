"""Arrays as nnInteractive's client and server exchange them: a head, and chunks of Blosc2.

The head is ``NNIA``, a byte each for the version, the codec, the number of axes and the length of the type's name, that
name as numpy has it, and an int64 for each axis. A uint32 states how many chunks follow, each behind two uint64: its
bytes unpacked, and packed. All numbers are little-endian.
"""

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.errors import BrokenBody, LimitExceeded
from gateway.protocol.nninteractive.blosc_chunks import HEADER, Piece, read_chunk, write_chunk
from gateway.protocol.tensors import DTYPES

START, LENGTHS, COUNT = struct.Struct("<4sBBBB"), struct.Struct("<QQ"), struct.Struct("<I")
MAGIC, VERSION, CODEC = b"NNIA", 1, 1
"""The codec is Zstandard; the other that the format knows, LZ4, is sent by no client."""
MAX_AXES = 4
"""An image has four: channels, and three of space."""
CHUNK = 1 << 30
"""Bytes of a chunk at most, a multiple of the size of any number."""
DATATYPES = {np.dtype(name).name: datatype for datatype, name in DTYPES.items()}
"""Names of data types in the gateway's words, by those of numpy, which the head has."""

Take = Callable[[int], bytes | bytearray]
"""Returns the next bytes of a body, as many as its argument says. Raises BrokenBody where there are fewer."""


@dataclass(frozen=True)
class PackedHead:
    """The head of a packed array."""

    datatype: str
    """In the gateway's words, such as FP32."""
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its numbers, little-endian."""
        return np.dtype(DTYPES[self.datatype])

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_head(take: Take, most: int, setting: str) -> PackedHead:
    """Read the head of an array of ``most`` bytes at most, which is what ``setting`` allows.

    Raises BrokenBody, LimitExceeded.
    """
    magic, version, codec, axes, length = START.unpack(take(START.size))
    if (magic, version, codec) != (MAGIC, VERSION, CODEC):
        raise BrokenBody("The body is no array as nnInteractive's client packs it, in version 1 and by Zstandard.")
    if not 0 < axes <= MAX_AXES:
        raise BrokenBody(f"The packed array should have 1 to {MAX_AXES} axes.")
    datatype = DATATYPES.get(take(length).decode("ascii", "replace"))
    if datatype is None:
        raise BrokenBody(f"The type of the packed array should be one of {', '.join(DATATYPES)}.")
    shape = struct.unpack(f"<{axes}q", take(8 * axes))
    if min(shape) < 1:
        raise BrokenBody("Each axis of the packed array should have at least one element.")
    head = PackedHead(datatype, shape)
    if head.nbytes > most:
        raise LimitExceeded(setting, most, what="The array")
    return head


def read_array(head: PackedHead, take: Take) -> Iterator[Piece]:
    """Yield the bytes of the array behind its head, in C order and little-endian. Raises BrokenBody."""
    (chunks,) = COUNT.unpack(take(COUNT.size))
    left, itemsize = head.nbytes, head.dtype.itemsize
    if chunks != -(-left // CHUNK):
        raise BrokenBody(f"The packed array should have chunks of {CHUNK} bytes, and one of what is left.")
    for _ in range(chunks):
        size, packed = LENGTHS.unpack(take(LENGTHS.size))
        if size != min(left, CHUNK) or packed > size + HEADER.size:
            raise BrokenBody("A chunk of the packed array has another size than its place, or is longer than its data.")
        yield from read_chunk(memoryview(take(packed)), size, itemsize)
        left -= size


def unpack(head: PackedHead, take: Take) -> NDArray[Any]:
    """Return the array behind its head. Raises BrokenBody."""
    return np.frombuffer(b"".join(read_array(head, take)), head.dtype).reshape(head.shape)


def pack(array: NDArray[Any]) -> bytes:
    """Pack an array of at least one element."""
    name, data = array.dtype.name.encode(), memoryview(array.astype(array.dtype.newbyteorder("<")).tobytes())
    head = START.pack(MAGIC, VERSION, CODEC, array.ndim, len(name)) + name
    parts = [head, struct.pack(f"<{array.ndim}q", *array.shape), COUNT.pack(-(-len(data) // CHUNK))]
    for start in range(0, len(data), CHUNK):
        piece = data[start : start + CHUNK]
        chunk = write_chunk(piece, array.dtype.itemsize)
        parts += [LENGTHS.pack(len(piece), len(chunk)), chunk]
    return b"".join(parts)
