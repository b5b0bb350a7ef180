"""Packed arrays of nnInteractive: those of its client 2.6.0 are read, ours are read again, and hostile ones refused.

``tests/corpus/nninteractive`` has ``ARRAYS`` as ``pack_array`` of the client wrote them, by blosc2 4.14.1, with its
bytes shuffled and plain. ``tests/endpoints/test_nninteractive_client.py`` has the client read ours.
"""

import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zstandard
from numpy.typing import NDArray

from gateway.errors import BrokenBody, GatewayError, LimitExceeded
from gateway.protocol.nninteractive.blosc_chunks import HEADER
from gateway.protocol.nninteractive.packed_arrays import COUNT, LENGTHS, START, pack, read_head, unpack
from tests.conftest import ROOT

CORPUS = ROOT / "tests/corpus/nninteractive"
MOST = 1 << 24
RANDOM = np.frombuffer(bytes(zlib.crc32(struct.pack("<I", i)) & 0xFF for i in range(3 * 20 * 20 * 4)), np.uint8)
ARRAYS: dict[str, NDArray[Any]] = {
    "ramp": (np.arange(2 * 150 * 150) // 7 % 1000).astype(np.int16).reshape(1, 2, 150, 150),
    "float": (np.arange(4000) % 37 / 7).astype(np.float32).reshape(1, 4, 20, 50),
    "noise": RANDOM.view(np.uint32).reshape(1, 3, 20, 20),
    "zeros": np.zeros((3, 40, 41), np.uint8),
    "scribble": (np.arange(60 * 70) % 71 == 0).reshape(1, 60, 70),
    "voxel": np.ones((1, 1, 1), np.uint8),
    "many blocks": (np.arange(700_000) // 1000 % 200).astype(np.uint8).reshape(7, 100, 1000),
    "halves": (np.arange(5000) % 100).astype(np.float16).reshape(5, 10, 100),
    "doubles": (np.arange(3000) % 11).astype(np.float64).reshape(3, 10, 100),
}


def takes(data: bytes) -> Callable[[int], bytes]:
    """Return a ``Take`` of these bytes."""
    stream = io.BytesIO(data)

    def take(size: int) -> bytes:
        found = stream.read(size)
        if len(found) < size:
            raise BrokenBody("The body is too short.")
        return found

    return take


def read(data: bytes, most: int = MOST) -> NDArray[Any]:
    take = takes(data)
    return unpack(read_head(take, most, "max_decoded_bytes"), take)


def chunk_of(data: bytes) -> int:
    """Return where the first chunk begins."""
    _, _, _, axes, length = START.unpack_from(data)
    return START.size + length + 8 * axes + COUNT.size + LENGTHS.size


@pytest.mark.parametrize("form", ["shuffled", "plain"])
@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_of_the_client_is_read(name: str, form: str) -> None:
    found = read((CORPUS / f"{name}-{form}.nnia").read_bytes())
    assert found.dtype == ARRAYS[name].dtype
    assert np.array_equal(found, ARRAYS[name])


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_of_the_gateway_is_read_again(name: str) -> None:
    packed = pack(ARRAYS[name])
    assert np.array_equal(read(packed), ARRAYS[name])
    assert len(packed) <= ARRAYS[name].nbytes + 120


HEADS = {
    "not an array": (0, b"PK"),
    "another version": (4, b"\2"),
    "LZ4": (5, b"\2"),
    "no axes": (6, b"\0"),
    "255 axes": (6, b"\xff"),
    "a type of objects": (8, b"objec"),
    "an axis below 0": (13, struct.pack("<q", -1)),
    "an axis of 2**62": (13, struct.pack("<q", 1 << 62)),
    "no chunk": (45, struct.pack("<I", 0)),
    "2**32 - 1 chunks": (45, struct.pack("<I", (1 << 32) - 1)),
    "a chunk of fewer bytes": (49, struct.pack("<Q", 2)),
    "a chunk of 2**63 bytes": (57, struct.pack("<Q", 1 << 63)),
}
"""By what they state: a place in the array, and other bytes there."""
CHUNKS = {
    "a version of chunks": (0, b"\6"),
    "a short header": (2, b"\x84"),
    "zlib": (2, bytes((0x05 | 3 << 5,))),
    "numbers of another size": (3, b"\4"),
    "other bytes": (4, struct.pack("<i", 90_002)),
    "bytes below 0": (4, struct.pack("<i", -1)),
    "blocks of no bytes": (8, struct.pack("<i", 0)),
    "blocks of a byte": (8, struct.pack("<i", 1)),
    "blocks above the chunk": (8, struct.pack("<i", 1 << 30)),
    "another length": (12, struct.pack("<i", 99)),
    "the delta filter": (16, b"\3"),
    "the user's filter": (16, b"\xff"),
    "two filters": (17, b"\1"),
    "the user's codec": (22, b"\xff"),
    "a filter's meta": (24, b"\1"),
    "a dictionary": (31, b"\1"),
    "a lazy chunk": (31, b"\x08"),
    "memory that is not set": (31, b"\x40"),
    "a block in the header": (32, struct.pack("<i", 0)),
    "a block before the chunk": (32, struct.pack("<i", -8)),
    "a block behind the chunk": (32, struct.pack("<i", 1 << 30)),
}
"""By what they state: a place in the first chunk, and other bytes there."""


@pytest.mark.parametrize("name", [*HEADS, *CHUNKS])
def test_a_hostile_array_is_refused(name: str) -> None:
    data = bytearray((CORPUS / "ramp-shuffled.nnia").read_bytes())
    at, values = HEADS[name] if name in HEADS else CHUNKS[name]
    start = at if name in HEADS else at + chunk_of(data)
    data[start : start + len(values)] = values
    with pytest.raises((BrokenBody, LimitExceeded)):
        read(bytes(data))


def test_an_array_that_states_too_much_is_refused_before_it_is_unpacked() -> None:
    shape = struct.pack("<4q", 1, 1 << 20, 1 << 20, 1 << 20)
    bomb = START.pack(b"NNIA", 1, 1, 4, 5) + b"uint8" + shape + COUNT.pack(1 << 30)
    with pytest.raises(LimitExceeded):
        read(bomb)


def test_a_frame_that_states_more_than_its_block_is_not_unpacked() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 22))
    start = HEADER.size + 4
    header = HEADER.pack(5, 1, 0x95, 1, 4096, 4096, start + 4 + len(bomb), bytes(6), 5, 0, bytes(6), 0, 0)
    chunk = header + struct.pack("<ii", start, len(bomb)) + bomb
    head = START.pack(b"NNIA", 1, 1, 3, 5) + b"uint8" + struct.pack("<3q", 1, 1, 4096)
    with pytest.raises(BrokenBody):
        read(head + COUNT.pack(1) + LENGTHS.pack(4096, len(chunk)) + chunk)


def test_every_truncated_array_is_refused() -> None:
    data = (CORPUS / "float-shuffled.nnia").read_bytes()
    for size in range(len(data)):
        with pytest.raises(BrokenBody):
            read(data[:size])


def test_random_changes_are_refused_or_read_as_an_array_of_the_stated_size() -> None:
    chance = random.Random(1)
    arrays = [path.read_bytes() for path in CORPUS.glob("*.nnia") if path.stat().st_size < 4000]
    for _ in range(3000):
        data = bytearray(chance.choice(arrays))
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.choice((0, 255, chance.randrange(256)))
        try:
            found = read(bytes(data))
        except GatewayError:
            continue
        assert found.nbytes <= MOST
