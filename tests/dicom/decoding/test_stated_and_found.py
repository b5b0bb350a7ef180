"""A file with more than its header states is refused, and one in another VR than stated has the same pixels."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from gateway.dicom.decoding.pixels import decode
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.reading.instances import read_instance
from gateway.dicom.volumes.study import image, volume
from gateway.errors import StudyRefused
from tests.dicom.decoding.test_bits import jpeg_2000
from tests.dicom.volumes.volume_series import multi_frame, series, slice_at, stored

UNCOUNTED: dict[str, dict[str, Any]] = {
    "one": {"NumberOfFrames": 1},
    "no": {"NumberOfFrames": 0},
    "an empty number of": {"NumberOfFrames": None},
    "unsaid": {},
    "four": {"NumberOfFrames": 4},
}


def written(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    if not little:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    if "PixelData" in dataset:
        dataset["PixelData"].VR = "OB" if syntax.is_encapsulated else "OW"
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dataset.save_as(buffer, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
    return buffer.getvalue()


def stating(data: bytes, syntax: UID) -> io.BytesIO:
    """The same file with another transfer syntax in its meta information."""
    at = data.index(b"\x02\x00\x10\x00UI")
    (old,) = struct.unpack_from("<H", data, at + 6)
    name = syntax.encode() + b"\0" * (len(syntax) % 2)
    (length,) = struct.unpack_from("<L", data, 140)
    changed = data[: at + 6] + struct.pack("<H", len(name)) + name + data[at + 8 + old :]
    return io.BytesIO(changed[:140] + struct.pack("<L", length + len(name) - old) + changed[144:])


def five_frames(**attributes: Any) -> Dataset:
    dataset = slice_at((0, 0, 0))
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = b"".join(stored(index).tobytes() for index in range(5))
    return dataset


def seen(data: bytes) -> np.ndarray:
    """Return the first image of a file: refused where it is read, or where it is decoded."""
    return image(read_instance(io.BytesIO(data))).stored


@pytest.mark.parametrize("count", UNCOUNTED)
@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
    ids=lambda syntax: syntax.name,
)
def test_five_frames_of_which_fewer_are_stated_are_refused(count: str, syntax: UID) -> None:
    with pytest.raises(StudyRefused):
        seen(written(five_frames(**UNCOUNTED[count]), syntax))


@pytest.mark.parametrize("count", UNCOUNTED)
def test_frames_with_groups_of_their_own_of_which_fewer_are_stated_are_refused(count: str) -> None:
    dataset = multi_frame(series())
    del dataset.NumberOfFrames
    for keyword, value in UNCOUNTED[count].items():
        setattr(dataset, keyword, value)
    with pytest.raises(StudyRefused, match="NumberOfFrames"):
        read_instance(io.BytesIO(written(dataset)))


@pytest.mark.parametrize("offsets", [True, False], ids=["an offset table", "no offset table"])
@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless], ids=lambda syntax: syntax.name)
def test_compressed_frames_of_which_fewer_are_stated_are_refused(syntax: UID, offsets: bool) -> None:
    source = slice_at((0, 0, 0))
    frame = RLELosslessEncoder.encode(source) if syntax == RLELossless else jpeg_2000(stored(0), 16)
    source.PixelData = encapsulate([frame] * 3, has_bot=offsets)
    for count, right in ((1, False), (2, False), (3, True)):
        source.NumberOfFrames = count
        if right:
            assert np.array_equal(seen(written(source, syntax)), stored(0))
        else:
            with pytest.raises(StudyRefused, match="NumberOfFrames"):
                seen(written(source, syntax))


@pytest.mark.parametrize("excess", [2, 40, 1000])
def test_pixels_beyond_the_stated_ones_are_refused_and_zeros_are_padding(excess: int) -> None:
    dataset = slice_at((0, 0, 0))
    right = dataset.PixelData
    dataset.PixelData = right + bytes(excess)
    assert np.array_equal(seen(written(dataset)), stored(0))
    dataset.PixelData = right + bytes(excess - 1) + b"\1"
    with pytest.raises(StudyRefused, match="PixelData"):
        seen(written(dataset))


def test_a_padding_byte_is_no_excess() -> None:
    dataset = slice_at((0, 0, 0), Rows=3, Columns=3, BitsAllocated=8, BitsStored=8, HighBit=7)
    dataset.PixelData = bytes(range(9)) + b"\0"
    assert seen(convert_dataset_to_bytes(dataset)).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("states", "holds"),
    [(ExplicitVRLittleEndian, ImplicitVRLittleEndian), (ImplicitVRLittleEndian, ExplicitVRLittleEndian)],
    ids=["states explicit", "states implicit"],
)
def test_a_data_set_in_the_other_vr_than_stated_has_the_same_pixels(states: UID, holds: UID, bits: int) -> None:
    pixels = stored(0).astype(f"<u{bits // 8}")
    dataset = slice_at((0, 0, 0), BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1, PixelData=pixels.tobytes())
    file = stating(written(dataset, holds), states)
    instance = read_instance(file)
    assert np.array_equal(image(instance).stored, pixels)
    assert np.array_equal(volume([instance]).stored[0], pixels)
    assert np.array_equal(decode(file, 0), pixels)


def test_rle_behind_a_header_without_vrs_has_the_same_pixels() -> None:
    dataset = slice_at((0, 0, 0))
    data = written(dataset, ImplicitVRLittleEndian)
    pixels = encapsulate([RLELosslessEncoder.encode(dataset)])
    end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    packed = data[: data.rindex(b"\xe0\x7f\x10\x00")] + b"\xe0\x7f\x10\x00\xff\xff\xff\xff" + pixels + end
    file = stating(packed, RLELossless)
    assert np.array_equal(image(read_instance(file)).stored, stored(0))
    assert np.array_equal(decode(file), stored(0))
