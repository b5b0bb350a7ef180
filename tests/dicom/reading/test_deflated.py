"""A deflated file reads as the file that it was, no further than it is asked for, and never beyond a limit."""

import io
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from gateway.dicom.decoding.loading import load_values
from gateway.dicom.decoding.pixels import decode
from gateway.dicom.reading import deflated, fast_headers, watched_file
from gateway.dicom.reading.deflated import InflatedFile, inflated
from gateway.dicom.reading.files import convert_dataset_to_bytes, read_header
from gateway.dicom.reading.instances import read_instance
from gateway.dicom.volumes.study import image as image_of
from gateway.errors import Cancelled, LimitExceeded, StudyRefused
from tests.dicom.requests import answering
from tests.dicom.studies import image

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files" / "image_dfl.dcm"
FRAMES = 5


def packed(dataset: Dataset) -> bytes:
    """A dataset as a deflated file."""
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return convert_dataset_to_bytes(dataset)


def several() -> Dataset:
    """An image of frames that differ."""
    return image(frames=FRAMES, pixels=np.arange(FRAMES * 256).reshape(FRAMES, 16, 16))


def bomb(zeros: int, tag: bytes = b"\xe0\x7f\x10\x00OW") -> bytes:
    """A file whose header ends in an element of ``zeros`` bytes, by default its pixels."""
    whole = packed(image())
    start = 144 + int.from_bytes(whole[140:144], "little")
    content = zlib.decompress(whole[start:], -zlib.MAX_WBITS)
    header = content[: content.index(b"\xe0\x7f\x10\x00OW")]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    pieces = [header + tag + bytes(2) + zeros.to_bytes(4, "little"), bytes(zeros), content[len(header) :]]
    return whole[:start] + b"".join(map(packer.compress, pieces)) + packer.flush()


class Counting(io.BytesIO):
    """Counts the bytes that are read of a file."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


@given(st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 90_000)), max_size=8))
def test_the_twin_has_the_bytes_of_the_dataset_wherever_it_is_read(reads: list[tuple[int, int]]) -> None:
    data = SHIPPED.read_bytes()
    start = 144 + int.from_bytes(data[140:144], "little")
    plain = data[:start] + zlib.decompress(data[start:], -zlib.MAX_WBITS)
    twin = inflated(io.BytesIO(data))
    assert isinstance(twin, InflatedFile) and inflated(twin) is twin
    for at, size in reads:
        assert twin.seek(at) == min(at, len(plain))
        assert twin.read(size) == plain[at : at + size]


def test_a_file_that_is_not_deflated_is_its_own_twin() -> None:
    file = io.BytesIO(convert_dataset_to_bytes(image()))
    assert inflated(file) is file and file.tell() == 0


def test_header_and_pixels_are_those_of_pydicom() -> None:
    for data in (SHIPPED.read_bytes(), packed(several())):
        theirs = dcmread(io.BytesIO(data))
        ours = read_instance(io.BytesIO(data))
        assert ours.header == read_header(io.BytesIO(data)) == dcmread(io.BytesIO(data), stop_before_pixels=True)
        assert ours.header.file_meta == theirs.file_meta
        assert np.array_equal(decode(io.BytesIO(data)), theirs.pixel_array)
        assert np.array_equal(image_of(ours).stored, theirs.pixel_array.reshape(-1, ours.rows, ours.columns)[0])


@given(st.permutations(range(FRAMES)))
def test_frames_are_loaded_in_any_order_by_inflating_once(order: list[int]) -> None:
    file = Counting(packed(several()))
    instance = read_instance(file)
    file.count = 0
    values = load_values([(instance, frame) for frame in order])
    assert values[:, 0, 0].tolist() == [256 * frame for frame in order]
    assert file.count < 2 * len(file.getvalue()) + 144


@pytest.mark.parametrize("cut", [1, 100])
def test_a_stream_that_is_cut_off_is_refused(cut: int) -> None:
    with pytest.raises(StudyRefused):
        read_instance(io.BytesIO(packed(image())[:-cut]))


def test_pixels_beyond_the_stated_frames_are_refused_without_inflating_them() -> None:
    file = Counting(bomb(64 << 20))
    with answering(1 << 20), pytest.raises(StudyRefused, match="NumberOfFrames"):
        read_instance(file)
    with pytest.raises((StudyRefused, LimitExceeded)):
        decode(file)


def test_a_header_is_inflated_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bomb(1 << 20, b"\x09\x00\x01\x10OB")
    assert read_instance(io.BytesIO(data)).rows == 16
    monkeypatch.setattr(fast_headers, "WINDOWS", (1 << 10,))
    monkeypatch.setattr(watched_file, "MAX_INFLATED_HEADER_BYTES", 1 << 19)
    with pytest.raises(LimitExceeded) as refused:
        read_instance(io.BytesIO(data))
    assert refused.value.members == {"limit": "MAX_INFLATED_HEADER_BYTES", "value": 1 << 19}


def test_inflated_headers_are_counted_as_memory_of_their_request() -> None:
    data = bomb(3 << 20, b"\x09\x00\x01\x10OB")
    with answering(16 << 20), pytest.raises(LimitExceeded) as refused:
        for _ in range(9):
            read_instance(io.BytesIO(data))
    assert refused.value.members == {"limit": "max_decoded_bytes", "value": 16 << 20}


def test_pixels_are_inflated_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = read_instance(SHIPPED)
    monkeypatch.setattr(deflated, "MAX_INFLATED_BYTES", 1 << 17)
    with pytest.raises(LimitExceeded, match="MAX_INFLATED_BYTES"):
        load_values([(instance, 0)])


def test_a_request_whose_time_is_over_stops_inflating() -> None:
    file = inflated(io.BytesIO(bomb(8 << 20)))
    with answering(1 << 30) as request:
        request.context.cancel()
        with pytest.raises(Cancelled):
            file.seek(4 << 20)
