"""The bytes of an answer are the gateway's own: copied where a model could still write to them, and only there."""

import io
import mmap
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gateway.protocol.ownership import owned, references
from gateway.protocol.response import check
from gateway.protocol.serializer import InferenceSerializer, as_bytes

SIZE = 1000
MASK = {"binary_type": "boolean_mask", "binary_data_shape": {"height": 1, "width": SIZE}}


def settled(*pieces: memoryview) -> list[memoryview]:
    ours = references(pieces)
    return [owned(piece, ours) for piece in pieces]


def ones(dtype: Any = np.uint8) -> Any:
    return np.ones(SIZE, dtype)


def file_of_pages() -> mmap.mmap:
    pages = mmap.mmap(-1, SIZE)
    pages[:] = b"\1" * SIZE
    return pages


KEPT: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "array": (ones, lambda one: one),
    "array of bool": (lambda: ones(bool), lambda one: one),
    "array whose view is returned": (lambda: np.ones(2 * SIZE, np.uint8), lambda one: one[:SIZE]),
    "array whose bool view is returned": (ones, lambda one: one.view(bool)),
    "array that is read-only for now": (ones, lambda one: np.lib.stride_tricks.as_strided(one, writeable=False)),
    "memoryview": (lambda: memoryview(ones()), lambda one: one),
    "memoryview of a view": (lambda: memoryview(ones()[:]), lambda one: one),
    "array under a memoryview": (ones, memoryview),
    "bytearray": (lambda: bytearray(b"\1" * SIZE), lambda one: one),
    "pages": (file_of_pages, lambda one: one),
    "BytesIO whose buffer is returned": (lambda: io.BytesIO(b"\1" * SIZE), lambda one: one.getbuffer()),
    "BytesIO": (lambda: io.BytesIO(b"\1" * SIZE), lambda one: one),
}


def overwrite(kept: Any) -> None:
    if isinstance(kept, io.BytesIO):
        kept.seek(0)
        kept.write(b"\2" * SIZE)
    else:
        np.frombuffer(kept, np.uint8)[:] = 2


@pytest.mark.parametrize("name", KEPT)
def test_a_model_that_reuses_a_buffer_of_its_answer_changes_no_answer(name: str) -> None:
    make, give = KEPT[name]
    kept = make()
    (piece,) = settled(as_bytes(give(kept), ""))
    overwrite(kept)
    assert bytes(piece) == b"\1" * SIZE
    assert piece.readonly


def test_an_array_that_only_a_weak_reference_leads_back_to_is_copied() -> None:
    array = ones()
    piece, way_back = as_bytes(array, ""), weakref.ref(array)
    del array
    (found,) = settled(piece)
    way_back()[:] = 2
    assert bytes(found) == b"\1" * SIZE


@pytest.mark.parametrize(
    "make",
    [
        ones,
        lambda: ones(bool).view(np.uint8),
        lambda: np.ones((SIZE, 4), np.float32)[:, ::2],
        lambda: np.frombuffer(b"\1" * SIZE, np.uint8),
        lambda: memoryview(b"\1" * SIZE),
        lambda: b"\1" * SIZE,
        lambda: io.BytesIO(b"\1" * SIZE),
    ],
)
def test_a_buffer_that_the_model_does_not_keep_is_not_copied(make: Callable[[], Any]) -> None:
    piece = as_bytes(make(), "")
    assert settled(piece)[0] is piece


def test_bytes_that_a_model_keeps_are_not_copied_since_no_one_can_change_them() -> None:
    kept = b"\1" * SIZE
    array = np.frombuffer(kept, np.uint8).reshape(10, -1)
    piece = as_bytes(array, "")
    assert settled(piece)[0] is piece


def test_slices_of_one_batch_are_copied_only_where_the_model_keeps_the_batch() -> None:
    batch: Any = np.ones((3, SIZE), np.uint8)
    pieces = [as_bytes(one, "") for one in batch]
    found = settled(*pieces)
    batch[:] = 2
    assert [bytes(one) for one in found] == [b"\1" * SIZE] * 3
    del batch
    assert all(one is piece for one, piece in zip(settled(*pieces), pieces, strict=True))
    assert all(settled(piece)[0] is not piece for piece in pieces)  # another answer's slice lies there too


class Hoarder(InferenceSerializer):
    """Keeps what it has yielded, as a service's own serializer may."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def __call__(self, json_response: Any, binary_components: Any) -> Iterator[tuple[str, Any]]:
        for array in binary_components:
            self.kept.append(memoryview(array[:]))
            yield "application/binary", self.kept[-1]


def test_what_a_serializer_keeps_is_copied() -> None:
    serializer = Hoarder()
    answer = {"protocol_version": "1.0", "parts": [MASK]}
    _, (part,) = check(answer, [ones()], serializer=serializer, strict=True, warn=print)
    (found,) = settled(part.data)
    np.frombuffer(serializer.kept[0], np.uint8)[:] = 2
    assert bytes(found) == b"\1" * SIZE


def test_an_answer_of_fresh_arrays_is_checked_and_sent_without_a_copy() -> None:
    answer = {"protocol_version": "1.0", "parts": [MASK]}
    _, (part,) = check(answer, [ones()], serializer=InferenceSerializer(), strict=True, warn=print)
    assert settled(part.data)[0] is part.data
