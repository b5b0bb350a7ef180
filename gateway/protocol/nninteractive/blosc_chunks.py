"""Chunks of Blosc2 (README_CHUNK_FORMAT.rst of c-blosc2), as nnInteractive's client writes and reads them.

The library is not used: where a header names filters that it does not know, its decompressor writes past its output
and crashes. What the client sends is little: Zstandard, and its bytes shuffled by their place in a number or not. Any
other codec or filter is refused.
"""

import struct
from collections.abc import Iterator

import numpy as np

from gateway.errors import BrokenBody
from gateway.extras import hint

try:
    import zstandard
except ImportError as error:
    raise ImportError(f"nnInteractive's arrays need zstandard: {hint('nninteractive')}") from error

HEADER = struct.Struct("<BBBB3i6sBB6sBB")
"""Version, version of the codec, flags, bytes of a number, bytes, bytes of a block and of the chunk; filters, user's
codec, its meta, filters' meta, reserved, further flags."""
VERSION, CODEC_VERSION = 5, 1
EXTENDED, COPIED, UNSPLIT, ZSTANDARD = 0x05, 0x02, 0x10, 4
"""Of the flags: the header has 32 bytes, the data are not compressed, a block is one stream; and the codec, above 5
bits."""
CODECS = frozenset({0, 5})
"""The codec once more, by a number of its own: none, or Zstandard."""
SHUFFLED = b"\1"
"""The one filter, in any of six places, by which the first bytes of all numbers of a block stand first."""
ZEROS = 0x10
"""The further flag of a chunk that is all zeros."""
SMALLEST_BLOCK = 4 << 10
"""Bytes of a block that is not a whole chunk, at least; the library's have 16 KiB or more."""
BLOCK = 256 << 10
"""Bytes of a written block: few enough for a core's cache, and a multiple of the size of any number."""
LEVEL = 1
"""Zstandard's fastest usual level: a click waits, and masks are simple."""
LENGTH = struct.Struct("<i")

Piece = bytes | memoryview


def read_chunk(chunk: memoryview, size: int, itemsize: int) -> Iterator[Piece]:
    """Yield the ``size`` bytes of a chunk of numbers of ``itemsize`` bytes, a block at a time.

    Nothing is read or made that the header does not bound by ``size``. Raises BrokenBody.
    """
    if len(chunk) < HEADER.size:
        raise _broken("is shorter than its header")
    (version, _, flags, typesize, nbytes, blocksize, cbytes, filters, user, user_meta, meta, reserved, more) = (
        HEADER.unpack_from(chunk)
    )
    plain = user in CODECS and not (user_meta or any(meta) or reserved)
    if version != VERSION or flags & EXTENDED != EXTENDED or not plain:
        raise _broken("has a header that is not that of a plain chunk of version 5")
    if (nbytes, cbytes, typesize) != (size, len(chunk), itemsize):
        raise _broken("states other sizes than the array")
    if more == ZEROS:
        yield from (bytes(min(BLOCK, size - start)) for start in range(0, size, BLOCK))
    elif more:
        raise _broken("has flags that are not read here")
    elif flags & COPIED:
        if len(chunk) != HEADER.size + size:
            raise _broken("states other sizes than it has")
        yield chunk[HEADER.size :]
    elif flags >> 5 != ZSTANDARD or filters.strip(b"\0") not in (b"", SHUFFLED):
        raise _broken("has another codec than Zstandard, or another filter than shuffle")
    elif not min(size, SMALLEST_BLOCK) <= blocksize <= size:
        raise _broken("has blocks that are too small, or larger than it is")
    else:
        streams = 1 if flags & UNSPLIT else itemsize
        yield from _blocks(chunk, (size, blocksize), streams, itemsize if any(filters) else 1)


def _blocks(chunk: memoryview, sizes: tuple[int, int], streams: int, shuffled: int) -> Iterator[Piece]:
    """Yield each block; ``sizes`` are those of the chunk and of a block, both in bytes."""
    size, blocksize = sizes
    count = -(-size // blocksize)
    if len(chunk) < HEADER.size + LENGTH.size * count:
        raise _broken("ends within the places of its blocks")
    starts = np.frombuffer(chunk, "<i4", count, HEADER.size).tolist()
    for number, start in enumerate(starts):
        length = min(blocksize, size - number * blocksize)
        block = _block(chunk, start, length, streams if length == blocksize else 1)
        yield _unshuffled(block, shuffled)


def _block(chunk: memoryview, start: int, length: int, streams: int) -> bytes:
    """Return a block of ``length`` bytes, which ``streams`` of the same size make up."""
    if length % streams or start < HEADER.size:
        raise _broken("has a block of a size that is not that of its streams, or within its header")
    each, parts = length // streams, []
    for _ in range(streams):
        if start + LENGTH.size > len(chunk):
            raise _broken("ends within a block")
        (coded,) = LENGTH.unpack_from(chunk, start)
        start += LENGTH.size
        if coded < 0:  # a run of one byte, and a token that marks it
            if coded < -255 or start >= len(chunk) or not chunk[start] & 1:
                raise _broken("has a block of an unknown kind")
            parts.append(bytes((-coded,)) * each)
            start += 1
            continue
        if coded > len(chunk) - start:
            raise _broken("ends within a block")
        parts.append(_stream(chunk[start : start + coded], each))
        start += coded
    return b"".join(parts)


def _stream(data: memoryview, size: int) -> bytes:
    """Return the ``size`` bytes of one stream: zeros where it is empty, and not compressed where it has as many."""
    if not data:
        return bytes(size)
    if len(data) == size:
        return bytes(data)
    try:
        if zstandard.frame_content_size(data) != size:
            raise _broken("has a block of another size than stated")
        found = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    except zstandard.ZstdError as error:
        raise _broken("has a block that is no Zstandard frame") from error
    if len(found) != size:
        raise _broken("has a block of another size than stated")
    return found


def _unshuffled(block: bytes, itemsize: int) -> Piece:
    """Return a block whose bytes stand in their numbers again; what is behind the last whole number is not shuffled."""
    if itemsize == 1:
        return block
    count = len(block) // itemsize
    numbers = np.frombuffer(block, np.uint8, count * itemsize).reshape(itemsize, count).T
    return numbers.tobytes() + block[count * itemsize :]


def _broken(what: str) -> BrokenBody:
    return BrokenBody(f"A chunk of the packed array {what}; send the array again.")


def write_chunk(data: memoryview, itemsize: int) -> bytes:
    """Return a chunk of bytes that are numbers of ``itemsize``, a power of 2; it is at most 32 bytes longer."""
    blocks = [_written(data[start : start + BLOCK]) for start in range(0, len(data), BLOCK)]
    ends = np.cumsum([len(block) for block in blocks]) + HEADER.size + LENGTH.size * len(blocks)
    if ends[-1] >= HEADER.size + len(data):
        return _header(COPIED, itemsize, len(data), HEADER.size + len(data)) + bytes(data)
    starts = np.concatenate([[HEADER.size + LENGTH.size * len(blocks)], ends[:-1]]).astype("<i4")
    return b"".join([_header(0, itemsize, len(data), int(ends[-1])), starts.tobytes(), *blocks])


def _written(block: memoryview) -> bytes:
    coded = b"" if not np.frombuffer(block, np.uint8).any() else zstandard.ZstdCompressor(LEVEL).compress(block)
    kept = coded if len(coded) < len(block) else bytes(block)
    return LENGTH.pack(len(kept)) + kept


def _header(flags: int, itemsize: int, size: int, length: int) -> bytes:
    flags |= EXTENDED | UNSPLIT | ZSTANDARD << 5
    sizes = size, min(size, BLOCK), length
    return HEADER.pack(VERSION, CODEC_VERSION, flags, itemsize, *sizes, bytes(6), 0, 0, bytes(6), 0, 0)
