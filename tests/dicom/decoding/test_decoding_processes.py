"""A codestream that crashes its decoder ends a process of its own, and affects no other request."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from gateway.config import Settings
from gateway.dicom.decoding import pool as decoding
from gateway.dicom.decoding.pixels import decode
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.errors import GatewayError, LimitExceeded, StudyRefused
from tests.conftest import ROOT
from tests.dicom.studies import image
from tests.examples import examples
from tests.waiting import eventually

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
GOOD = SHIPPED / "MR_small_jp2klossless.dcm"
SLOW = SHIPPED / "693_J2KI.dcm"
LOSSLESS = SHIPPED / "SC_rgb_jpeg_gdcm.dcm"
CRASHING = {1374: 0}
"""One byte of its Huffman tables. With it, GDCM aborts."""
SEEDS = [
    LOSSLESS,
    GOOD,
    SHIPPED / "SC_rgb_jpeg_dcmtk.dcm",
    SHIPPED / "MR_small_jpeg_ls_lossless.dcm",
    SHIPPED / "GDCMJ2K_TextGBR.dcm",
    SHIPPED / "MR_small_RLE.dcm",
]


def changed(file: Path, bytes_at: dict[int, int]) -> io.BytesIO:
    data = bytearray(file.read_bytes())
    for place, byte in bytes_at.items():
        data[place] = byte
    return io.BytesIO(data)


def crashing() -> io.BytesIO:
    pytest.importorskip("gdcm")
    return changed(LOSSLESS, CRASHING)


def broken() -> io.BytesIO:
    """A JPEG 2000 image without the style of its coding (COD), which OpenJPEG refuses."""
    return changed(GOOD, {GOOD.read_bytes().rindex(b"\xff\x52"): 0})


def children(process: int | str = "self") -> set[int]:
    """The decoding processes that a process has started."""
    pids = {
        int(pid) for task in Path(f"/proc/{process}/task").iterdir() for pid in (task / "children").read_text().split()
    }
    return {pid for pid in pids if "decoding.decoder_process" in command(pid)}


def command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


@contextlib.contextmanager
def decoding_with(**limits: float) -> Iterator[None]:
    decoding.close()
    decoding.configure(replace(Settings(), **limits))
    try:
        yield
    finally:
        decoding.close()
        decoding.configure(Settings())


@pytest.fixture(autouse=True)
def one_process() -> Iterator[None]:
    with decoding_with(decode_processes=1):
        yield


def test_a_decoder_that_crashes_is_a_refusal_and_the_next_file_is_decoded() -> None:
    with pytest.raises(StudyRefused, match=r"JPEG Lossless.* was ended by SIG\w+ at frame 0"):
        decode(crashing())
    assert decode(GOOD).shape == (64, 64)


def test_what_others_decode_meanwhile_is_right() -> None:
    expected = decode(GOOD)
    bad = crashing().getvalue()

    def work(number: int) -> bool:
        if number % 3:
            return np.array_equal(decode(GOOD), expected)
        with pytest.raises(StudyRefused):
            decode(io.BytesIO(bad))
        return True

    with decoding_with(decode_processes=2), ThreadPoolExecutor(6) as threads:
        assert all(threads.map(work, range(24)))


def test_a_process_is_reused_for_the_next_frame_but_not_after_a_broken_one() -> None:
    decode(GOOD)
    (first,) = children()
    decode(GOOD)
    assert children() == {first}
    with pytest.raises(StudyRefused):
        decode(broken())
    decode(GOOD)
    assert first not in children()


def test_a_process_that_was_ended_while_idle_is_replaced() -> None:
    decode(GOOD)
    (first,) = children()
    os.kill(first, 9)
    eventually(lambda: "decoding" not in command(first))
    assert decode(GOOD).shape == (64, 64)


def test_uncompressed_pixels_start_no_process() -> None:
    decode(SHIPPED / "MR_small.dcm")
    assert not children()


def test_a_frame_that_takes_too_long_is_a_refusal() -> None:
    sentence = "took more CPU time than decode_seconds and decode_rate allow"
    hasty = decoding_with(decode_processes=1, decode_seconds=0.001, decode_rate=1 << 40)
    with hasty, pytest.raises(StudyRefused, match=sentence):
        decode(SLOW)


def blank(side: int) -> io.BytesIO:
    """An RLE image of zeros: a byte in 64."""
    dataset = image()
    segment = b"\x81\x00" * (side * side // 128)
    dataset.PixelData = encapsulate([np.array([1, 64, *[0] * 14], "<u4").tobytes() + segment])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.Rows = dataset.Columns = side
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.file_meta.TransferSyntaxUID = RLELossless
    return io.BytesIO(convert_dataset_to_bytes(dataset))


def test_a_frame_that_takes_too_much_memory_is_a_refusal() -> None:
    assert not decode(blank(1024)).any()
    small = decoding_with(decode_processes=1, decode_memory=128 << 20)
    with small, pytest.raises(StudyRefused, match="needed more memory than decode_memory allows"):
        decode(blank(16384))


def test_segments_that_lie_one_over_the_other_are_refused() -> None:
    dataset = pydicom.dcmread(SHIPPED / "MR_small_RLE.dcm")
    whole = pydicom.encaps.get_frame(dataset.PixelData, 0)
    dataset.PixelData = encapsulate([np.array([2, 64, 64, *[0] * 13], "<u4").tobytes() + whole[64:]])
    with pytest.raises(StudyRefused, match="RLE Lossless found it broken"):
        decode(io.BytesIO(convert_dataset_to_bytes(dataset)))


def test_codecs_run_inside_where_configured() -> None:
    expected = decode(GOOD)
    with decoding_with(decode_processes=0):
        np.testing.assert_array_equal(decode(GOOD), expected)
        with pytest.raises(StudyRefused, match="JPEG 2000 .* at frame 0"):
            decode(broken())
        assert not children()


def test_frames_of_one_image_are_decoded_in_order_by_several_processes() -> None:
    dataset = pydicom.dcmread(SHIPPED / "SC_rgb_rle_2frame.dcm")
    expected = dataset.pixel_array
    with decoding_with(decode_processes=2):
        np.testing.assert_array_equal(decode(SHIPPED / "SC_rgb_rle_2frame.dcm"), expected)


PROBE = """
import os, pathlib, signal, sys
from gateway.dicom.decoding.pixels import decode
file = pathlib.Path(sys.argv[1])
shape = decode(file).shape
{then}
"""


def probe(then: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROBE.format(then=then), str(GOOD)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)"])
def test_processes_end_with_the_one_that_started_them(end: str) -> None:
    with probe(f"print(os.getpid(), flush=True)\ninput()\n{end}") as started:
        assert started.stdout is not None
        (process,) = children(int(started.stdout.readline()))
        started.communicate("\n")
    eventually(lambda: "decoding" not in command(process))


def test_a_forked_child_has_a_process_of_its_own() -> None:
    then = """
child = os.fork()
same = decode(file).shape == shape
if child == 0:
    os._exit(not same)
print(same, os.waitpid(child, 0)[1], decode(file).shape == shape)
"""
    with probe(then) as started:
        assert started.communicate()[0].split() == ["True", "0", "True"]


@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=examples(60))
def test_a_file_with_broken_bytes_is_decoded_or_refused(seed: Path, changes: list[tuple[float, int]]) -> None:
    size = seed.stat().st_size
    broken = changed(seed, {min(size - 1, 700 + int(at * (size - 700))): byte for at, byte in changes})
    with contextlib.suppress(StudyRefused, LimitExceeded):
        decode(broken)


def test_where_no_process_can_be_started_the_answer_is_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    with pytest.raises(GatewayError) as refused:
        decode(GOOD)
    assert refused.value.status == 503
