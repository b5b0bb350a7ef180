"""A digest beside the work is that of hashlib for any bytes, ends its thread, and hides no failure."""

import hashlib
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.protocol import digests
from gateway.protocol.digests import OVERLAP_BYTES, Digest, hash_function
from tests.require import require
from tests.waiting import PATIENCE, eventually

LARGE = bytes(range(256)) * (OVERLAP_BYTES // 128)
KINDS = st.sampled_from([bytes, bytearray, memoryview])


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "digest"]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    assert running() == []


@given(
    updates=st.lists(st.lists(st.tuples(KINDS, st.binary(max_size=300)), max_size=5), max_size=8),
    overlap=st.booleans(),
    threshold=st.integers(0, 500),
    step=st.integers(1, 100),
)
@settings(deadline=None)
def test_a_digest_is_that_of_hashlib_for_any_pieces(updates: Any, overlap: bool, threshold: int, step: int) -> None:
    """With and without a thread, which may start at any byte, and with slices of any length."""
    expected = hashlib.sha256()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "OVERLAP_BYTES", threshold)
        patch.setattr(digests, "SLICE", step)
        with Digest(overlap=overlap) as digest:
            for pieces in updates:
                digest.update(sum(len(data) for _, data in pieces), [kind(data) for kind, data in pieces])
                for _, data in pieces:
                    expected.update(data)
            assert digest.hexdigest() == expected.hexdigest()


def test_nothing_has_the_digest_of_nothing() -> None:
    with Digest() as digest:
        assert digest.hexdigest() == hashlib.sha256().hexdigest()


def test_a_small_message_needs_no_thread_and_a_large_one_has_its_own() -> None:
    with Digest() as small, Digest() as large:
        small.update(OVERLAP_BYTES, [bytes(OVERLAP_BYTES)])
        assert running() == []
        large.update(len(LARGE), [LARGE])
        assert len(running()) == 1
        assert large.hexdigest() == hashlib.sha256(LARGE).hexdigest()
        assert running() == []


def test_without_overlap_no_message_has_a_thread() -> None:
    with Digest(overlap=False) as digest:
        digest.update(len(LARGE), [LARGE])
        assert running() == []
        assert digest.hexdigest() == hashlib.sha256(LARGE).hexdigest()


def test_pieces_are_taken_in_the_thread_so_that_reading_them_costs_the_caller_nothing() -> None:
    may_go, names = threading.Event(), list[str]()

    def pieces() -> Iterator[bytes]:
        may_go.wait(PATIENCE)
        names.append(threading.current_thread().name)
        yield LARGE

    with Digest() as digest:
        digest.update(len(LARGE), pieces())
        assert names == []
        may_go.set()
        assert digest.hexdigest() == hashlib.sha256(LARGE).hexdigest()
    assert names == ["digest"]


def failing() -> Iterator[bytes]:
    yield LARGE[:10]
    raise OSError("the disk is gone")


@pytest.mark.parametrize("more", [0, 3])
def test_a_failure_to_read_the_pieces_is_raised_with_the_digest(more: int) -> None:
    with Digest() as digest:
        digest.update(len(LARGE), failing())
        for _ in range(more):
            digest.update(10, [LARGE[:10]])
        with pytest.raises(OSError, match="the disk is gone"):
            digest.hexdigest()


def test_without_a_thread_a_failure_is_raised_at_once() -> None:
    with Digest() as digest, pytest.raises(OSError, match="the disk is gone"):
        digest.update(20, failing())


def test_closing_ends_the_thread_soon_whatever_is_left_to_do() -> None:
    taken = list[int]()

    def endless() -> Iterator[bytes]:
        while True:
            taken.append(1)
            yield LARGE

    digest = Digest()
    digest.update(1 << 60, endless())
    digest.update(len(LARGE), [LARGE])
    digest.close()
    assert running() == []
    digest.close()


def test_an_exception_in_the_block_ends_the_thread() -> None:
    with pytest.raises(KeyError), Digest() as digest:
        digest.update(len(LARGE), [LARGE])
        raise KeyError


@pytest.mark.parametrize("announced", [len(LARGE) - 1, len(LARGE) + 1])
def test_a_digest_of_other_bytes_than_announced_is_never_returned(announced: int) -> None:
    with Digest() as digest:
        digest.update(announced, [LARGE])
        with pytest.raises(RuntimeError, match="bytes of"):
            digest.hexdigest()


def test_a_digest_that_was_closed_before_its_end_is_never_returned() -> None:
    digest = Digest()

    def pieces() -> Iterator[bytes]:
        eventually(lambda: digest._unwanted)
        yield LARGE

    digest.update(len(LARGE), pieces())
    digest.close()
    with pytest.raises(RuntimeError):
        digest.hexdigest()


def test_an_unknown_algorithm_is_refused_by_a_sentence_that_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="sha256, blake3"):
        hash_function("md5")


def test_blake3_has_as_many_digits() -> None:
    require(find_spec("blake3"), "the blake3 package is not installed")
    with Digest(hash_function("blake3")) as digest:
        digest.update(len(LARGE), [LARGE])
        assert len(digest.hexdigest()) == 64
        assert digest.hexdigest() != hashlib.sha256(LARGE).hexdigest()


def test_blake3_without_its_package_is_refused_by_a_sentence_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "blake3", None)
    with pytest.raises(ValueError, match="pip install 'blake3"):
        hash_function("blake3")
