"""The spool returns the written bytes, part by part, from memory and from disk."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Unavailable
from gateway.spool.parts import PartFile, Spool

PARTS = st.lists(st.lists(st.binary(max_size=300), max_size=4), max_size=6)


def spooled(parts: list[list[bytes]], threshold: int) -> list[PartFile]:
    spool = Spool(threshold=threshold)
    for pieces in parts:
        for piece in pieces:
            spool.write(piece)
        spool.end_part()
    return spool.parts()


@given(PARTS, st.sampled_from([0, 50, 10_000]))
def test_each_part_holds_what_was_written_to_it(parts: list[list[bytes]], threshold: int) -> None:
    files = spooled(parts, threshold)
    wanted = [b"".join(pieces) for pieces in parts]
    assert [file.read() for file in files] == wanted
    assert [file.getvalue() for file in files] == wanted
    assert [bytes(file.getbuffer()) for file in files] == wanted


@pytest.mark.parametrize("threshold", [0, 1 << 20])
@given(st.lists(st.tuples(st.sampled_from(["read", "seek", "end", "peek"]), st.integers(0, 700)), max_size=20))
def test_a_part_behaves_as_a_file_in_memory_does(threshold: int, steps: list[tuple[str, int]]) -> None:
    data = os.urandom(600)
    ours, theirs = spooled([[b"before"], [data], [b"after"]], threshold)[1], io.BytesIO(data)
    for step, number in steps:
        for file in (ours, theirs):
            if step == "seek":
                file.seek(number)
            elif step == "end":
                file.seek(-min(number, 600), io.SEEK_END)
        if step == "read":
            assert ours.read(number) == theirs.read(number)
        assert ours.tell() == theirs.tell()


def test_a_part_outlives_its_spool(tmp_path: Path) -> None:
    spool = Spool(threshold=0, folder=tmp_path)
    spool.write(b"abc")
    spool.end_part()
    (part,) = spool.parts()
    del spool
    assert part.read() == b"abc"


def test_nothing_but_parts_can_be_written_and_a_missing_folder_is_named(tmp_path: Path) -> None:
    (part,) = spooled([[b"abc"]], 10)
    assert not part.writable()
    with pytest.raises(Unavailable):
        Spool(threshold=0, folder=tmp_path / "missing").write(b"x")


def test_a_file_has_no_name_while_it_is_in_use(tmp_path: Path) -> None:
    spool = Spool(threshold=0, folder=tmp_path)
    spool.write(b"patient")
    assert list(tmp_path.iterdir()) == []
    assert not spool.in_memory
