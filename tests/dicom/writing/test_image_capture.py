"""A PNG or JPEG becomes a Secondary Capture that shows the same picture."""

import shutil
import struct
import subprocess
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom import Dataset, dcmread

from gateway.dicom.decoding.pixels import decode
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.reading.instances import read_instance
from gateway.dicom.writing import image_capture
from gateway.dicom.writing.image_capture import image_to_secondary_capture
from gateway.errors import LimitExceeded, StudyRefused
from tests.require import require

Array = np.ndarray[Any, Any]

GREY = np.arange(35, dtype=np.uint8).reshape(5, 7) * 7
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)
UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")


def png(pixels: Array, mode: str | None = None, **options: Any) -> BytesIO:
    picture = Image.fromarray(pixels)
    return saved(picture.convert(mode) if mode else picture, **options)


def saved(picture: Image.Image, kind: str = "PNG", **options: Any) -> BytesIO:
    file = BytesIO()
    picture.save(file, kind, **options)
    return file


def shown(dataset: Dataset) -> Array:
    """Through a file, as a service would send it."""
    return decode(BytesIO(convert_dataset_to_bytes(dataset)))


@pytest.mark.parametrize("pixels", [GREY, COLOUR, GREY.astype(np.uint16) * 250], ids=["grey", "colour", "16 bits"])
def test_pixels_of_a_png_are_kept_to_the_bit(pixels: Array) -> None:
    found = shown(image_to_secondary_capture(png(pixels)))
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [(GREY, (1, "MONOCHROME2", 8)), (GREY.astype(np.uint16), (1, "MONOCHROME2", 16)), (COLOUR, (3, "RGB", 8))],
)
def test_the_header_describes_the_pixels(pixels: Array, expected: tuple[int, str, int]) -> None:
    dataset = image_to_secondary_capture(png(pixels))
    assert (dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.BitsStored) == expected
    instance = read_instance(BytesIO(convert_dataset_to_bytes(dataset)))
    assert (instance.rows, instance.columns, instance.frames) == (5, 7, 1)


def test_a_jpeg_shows_what_its_decoder_shows(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    Image.fromarray(COLOUR).save(path)
    np.testing.assert_array_equal(shown(image_to_secondary_capture(path)), np.asarray(Image.open(path)))


def test_one_bit_is_shown_black_and_white() -> None:
    found = shown(image_to_secondary_capture(png(np.eye(4, dtype=bool))))
    np.testing.assert_array_equal(found, np.eye(4, dtype=np.uint8) * 255)


def test_transparency_lies_over_black() -> None:
    pixels = np.full((2, 2, 4), 200, dtype=np.uint8)
    pixels[..., 3] = [[0, 51], [102, 255]]
    found = shown(image_to_secondary_capture(png(pixels)))
    assert found[..., 0].tolist() == [[0, 40], [80, 200]]


def test_grey_with_transparency_lies_over_black() -> None:
    pixels = np.full((1, 2, 2), 90, dtype=np.uint8)
    pixels[..., 1] = [[0, 255]]
    assert shown(image_to_secondary_capture(saved(Image.fromarray(pixels, "LA")))).tolist() == [[[0] * 3, [90] * 3]]


def test_a_transparent_colour_of_a_palette_is_black() -> None:
    picture = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), "P")
    picture.putpalette([10, 20, 30, 40, 50, 60])
    found = shown(image_to_secondary_capture(saved(picture, transparency=1)))
    assert found.tolist() == [[[10, 20, 30], [0, 0, 0]]]


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (6, 3), (3, 2), (8, 1)])
def test_the_orientation_in_exif_is_applied(orientation: int, turns: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = shown(image_to_secondary_capture(png(COLOUR, exif=exif)))
    np.testing.assert_array_equal(found, np.rot90(COLOUR, turns))


def test_the_same_picture_gets_the_same_uids_and_another_gets_others() -> None:
    first, again, other = (image_to_secondary_capture(png(pixels)) for pixels in (GREY, GREY.copy(), GREY.T.copy()))
    assert convert_dataset_to_bytes(first) == convert_dataset_to_bytes(again)
    found = {str(dataset[keyword].value) for dataset in (first, other) for keyword in UIDS}
    assert len(found) == 6 and all(uid.startswith("1.2.826.0.1.3680043.8.498.") for uid in found)


def test_a_file_object_is_read_from_its_start_and_left_there() -> None:
    file = png(GREY)
    file.seek(20)
    image_to_secondary_capture(file)
    assert not file.closed and file.tell() == 0


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def announced(width: int, height: int) -> BytesIO:
    """A PNG of a hundred bytes that announces a size of its own."""
    size = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return BytesIO(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [8193, 12000, 65535])
def test_a_picture_that_would_unfold_beyond_the_limit_is_refused(side: int) -> None:
    with pytest.raises(LimitExceeded) as refused:
        image_to_secondary_capture(announced(side, side))
    assert refused.value.members == {"limit": "MAX_PIXELS", "value": image_capture.MAX_PIXELS}


def gif() -> bytes:
    return saved(Image.fromarray(GREY), "GIF").getvalue()


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture", gif(), png(GREY).getvalue()[:50], announced(50, 50).getvalue()],
    ids=["empty", "text", "GIF", "cut off", "too few pixels"],
)
def test_what_is_no_whole_png_or_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(StudyRefused, match="not a PNG or JPEG, or it is broken"):
        image_to_secondary_capture(BytesIO(data))


PNG = png(COLOUR).getvalue()


@given(st.integers(0, len(PNG)))
def test_a_picture_cut_off_anywhere_is_refused_or_whole(cut: int) -> None:
    try:
        dataset = image_to_secondary_capture(BytesIO(PNG[:cut]))
    except StudyRefused:
        return
    np.testing.assert_array_equal(shown(dataset), COLOUR)


@given(st.dictionaries(st.integers(0, len(PNG) - 1), st.integers(0, 255), min_size=1, max_size=4))
def test_a_damaged_picture_is_refused_or_shown(flips: dict[int, int]) -> None:
    damaged = bytearray(PNG)
    for at, byte in flips.items():
        damaged[at] = byte
    try:
        dataset = image_to_secondary_capture(BytesIO(bytes(damaged)))
    except (StudyRefused, LimitExceeded):
        return
    assert shown(dataset).shape[:2] == (dataset.Rows, dataset.Columns)


@pytest.mark.parametrize("pixels", [GREY, COLOUR, GREY.astype(np.uint16)], ids=["grey", "colour", "16 bits"])
def test_dciodvfy_finds_no_error(pixels: Array, tmp_path: Path) -> None:
    require(shutil.which("dciodvfy"), "dciodvfy of dicom3tools is not installed")
    path = tmp_path / "image_capture.dcm"
    path.write_bytes(convert_dataset_to_bytes(image_to_secondary_capture(png(pixels))))
    told = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    assert "SCImage" in told.stderr
    assert [line for line in told.stderr.splitlines() if line.startswith("Error")] == []
    assert dcmread(path).file_meta.MediaStorageSOPClassUID == dcmread(path).SOPClassUID
