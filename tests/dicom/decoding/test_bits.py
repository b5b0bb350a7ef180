"""One rule for the bits of a sample: as an independent decoder reads them, or a refusal."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    UltrasoundImageStorage,
)

from gateway.dicom.decoding.bits import StoredBits, numbers_of, stored_values
from gateway.dicom.decoding.pixels import decode, to_rgb
from gateway.dicom.reading.files import convert_dataset_to_bytes, read_header
from gateway.errors import StudyRefused
from tests.dicom.studies import image

Array = np.ndarray[Any, Any]

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
SIDE = 64
GENERATOR = np.random.default_rng(3)
CLEAN = GENERATOR.integers(0, 1 << 12, (SIDE, SIDE)).astype(np.uint16)
DIRTY = (CLEAN | 0xA000).astype(np.uint16)
SIGNED = (CLEAN.astype(np.int16) << 4) >> 4


def jpeg_2000(values: Array, bits: int) -> bytes:
    from openjpeg.utils import encode_array

    return bytes(encode_array(values, bits_stored=bits))


def jpeg_ls(values: Array) -> bytes:
    from jpeg_ls import encode_array

    return bytes(encode_array(values))


def holding(pixels: bytes, syntax: UID, bits: int, *, signed: int = 0, **attributes: Any) -> Dataset:
    dataset = image(size=(SIDE, SIDE))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, signed
    dataset.PixelData = encapsulate([pixels]) if syntax.is_encapsulated else pixels
    dataset["PixelData"].VR = "OB" if syntax.is_encapsulated else "OW"
    dataset["PixelData"].is_undefined_length = syntax.is_encapsulated
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def read(dataset: Dataset) -> Array:
    return decode(io.BytesIO(convert_dataset_to_bytes(dataset)))


def by_simple_itk(dataset: Dataset, folder: Path) -> Array:
    library = pytest.importorskip("SimpleITK")
    file = folder / "image.dcm"
    file.write_bytes(convert_dataset_to_bytes(dataset))
    found: Array = library.GetArrayFromImage(library.ReadImage(str(file)))[0]
    return found


READ = {
    "native": (holding(DIRTY.tobytes(), ExplicitVRLittleEndian, 12), CLEAN),
    "native, signed": (holding(DIRTY.tobytes(), ExplicitVRLittleEndian, 12, signed=1), SIGNED),
    "JPEG-LS": (holding(jpeg_ls(DIRTY), JPEGLSLossless, 12), CLEAN),
    "JPEG-LS, signed": (holding(jpeg_ls(DIRTY), JPEGLSLossless, 12, signed=1), SIGNED),
    "JPEG-LS of 12 bits, signed": (holding(jpeg_ls(CLEAN), JPEGLSLossless, 12, signed=1), SIGNED),
    "JPEG 2000, signed": (holding(jpeg_2000(DIRTY, 16), JPEG2000Lossless, 12, signed=1), SIGNED),
    "JPEG 2000 unsigned, header signed": (holding(jpeg_2000(CLEAN, 12), JPEG2000Lossless, 12, signed=1), SIGNED),
    "JPEG 2000 signed": (holding(jpeg_2000(SIGNED, 12), JPEG2000Lossless, 12, signed=1), SIGNED),
    "JPEG 2000 signed, header unsigned": (holding(jpeg_2000(SIGNED, 12), JPEG2000Lossless, 12), CLEAN),
    "JPEG 2000 signed of 12 bits in 16": (holding(jpeg_2000(SIGNED, 12), JPEG2000Lossless, 16, signed=1), SIGNED),
}


@pytest.mark.parametrize("name", READ)
def test_bits_are_read_as_another_decoder_reads_them(name: str, tmp_path: Path) -> None:
    dataset, expected = READ[name]
    found = read(dataset)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(by_simple_itk(dataset, tmp_path), expected)


def test_what_lies_above_the_bits_stored_does_not_count_in_jpeg_2000() -> None:
    np.testing.assert_array_equal(read(holding(jpeg_2000(DIRTY, 16), JPEG2000Lossless, 12)), CLEAN)


def test_an_unsigned_codestream_under_a_signed_header_is_read() -> None:
    found = decode(SHIPPED / "J2K_pixelrep_mismatch.dcm")
    assert (found.dtype, found.min(), found.max()) == (np.int16, -2000, 1896)


DIFFERENT = {
    "signs that no bit tells": holding(jpeg_ls(CLEAN), JPEGLSLossless, 16, signed=1),
    "signed, above the bits stored": holding(jpeg_2000(DIRTY.view(np.int16), 16), JPEG2000Lossless, 12, signed=1),
    "negative, of fewer bits": holding(jpeg_2000(SIGNED, 12), JPEG2000Lossless, 16),
    "lossy, above the bits stored": holding(jpeg_ls(DIRTY), JPEGLSNearLossless, 12),
    "high bit elsewhere": holding((CLEAN << 4).tobytes(), ExplicitVRLittleEndian, 12, HighBit=15),
    "high bit elsewhere, compressed": holding(jpeg_ls(CLEAN), JPEGLSLossless, 12, HighBit=15),
    "more bits than allocated": holding(jpeg_ls(CLEAN), JPEGLSLossless, 8, BitsAllocated=8),
    "more components": holding(jpeg_2000(np.zeros((SIDE, SIDE, 3), np.uint8), 8), JPEG2000Lossless, 8, BitsAllocated=8),
    "JPEG 2000 called JPEG": holding(jpeg_2000(CLEAN, 12), JPEGBaseline8Bit, 12),
    "JPEG 2000 called JPEG Lossless": holding(jpeg_2000(CLEAN, 12), JPEGLosslessSV1, 12),
    "JPEG 2000 called JPEG-LS": holding(jpeg_2000(CLEAN, 12), JPEGLSLossless, 12),
    "JPEG 2000 called RLE": holding(jpeg_2000(CLEAN, 12), RLELossless, 12),
    "JPEG-LS called JPEG 2000": holding(jpeg_ls(CLEAN), JPEG2000Lossless, 12),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_an_image_that_readers_would_read_differently_is_refused(name: str) -> None:
    with pytest.raises(StudyRefused):
        read(DIFFERENT[name])


@given(
    st.integers(1, 16).flatmap(
        lambda bits: st.tuples(st.just(bits), st.integers(-(1 << bits - 1), (1 << bits - 1) - 1))
    ),
    st.booleans(),
)
def test_a_signed_number_is_found_at_either_end_of_its_container(case: tuple[int, int], at_top: bool) -> None:
    bits, number = case
    shift = 16 - bits
    sample = (number + (1 << bits - 1)) << shift if at_top else number & 0xFFFF
    found = numbers_of(np.array([sample], np.uint16), bits, signed=True, at_top=at_top)
    assert found.tolist() == [number]


@given(st.integers(1, 16), st.integers(0, 0xFFFF), st.booleans())
def test_a_native_sample_and_a_lossless_one_are_read_alike(bits: int, sample: int, signed: bool) -> None:
    stored = StoredBits(16, bits, signed)
    found = stored_values(np.array([sample], np.uint16), 16, signed=False, stored=stored, lossless=True)
    low = sample & (1 << bits) - 1
    assert found.tolist() == [low - (1 << bits) if signed and low >> bits - 1 else low]


def test_subsampled_colour_with_three_bytes_a_pixel_is_refused() -> None:
    dataset = pydicom.dcmread(SHIPPED / "SC_rgb_rle.dcm")
    dataset.decompress()
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.PlanarConfiguration = 0
    for syntax in (ExplicitVRLittleEndian, ExplicitVRBigEndian):
        dataset.file_meta.TransferSyntaxUID = syntax
        with pytest.raises(StudyRefused, match="YBR_FULL_422"):
            decode(written(dataset, syntax))


def written(dataset: Dataset, syntax: UID) -> io.BytesIO:
    dataset.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    little = syntax != ExplicitVRBigEndian
    pydicom.dcmwrite(file, dataset, little_endian=little, implicit_vr=False, enforce_file_format=True)
    file.seek(0)
    return file


RAMP = np.arange(256)
COLOURS = np.stack([RAMP, 255 - RAMP, RAMP * 7 % 256]).astype(np.uint8)


def palette(depth: int, stored: str, syntax: UID) -> io.BytesIO:
    """256 pixels, each of its own colour; the tables as in ``stored``, in the byte order of the syntax."""
    big = syntax == ExplicitVRBigEndian
    pixels = RAMP.astype(np.uint8)
    dataset = image(size=(16, 16))
    dataset.SOPClassUID = UltrasoundImageStorage
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = pixels.view("<u2").byteswap().tobytes() if big else pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    for name, colour in zip(("Red", "Green", "Blue"), COLOURS, strict=True):
        words = {
            "scaled": colour.astype(np.uint16) * 257,
            "low": colour.astype(np.uint16),
            "packed": colour.view("<u2"),
        }[stored]
        keyword = f"{name}PaletteColorLookupTable"
        setattr(dataset, f"{keyword}Descriptor", [256, 0, depth])
        setattr(dataset, f"{keyword}Data", words.astype(">u2" if big else "<u2").tobytes())
        dataset[f"{keyword}Descriptor"].VR, dataset[f"{keyword}Data"].VR = "US", "OW"
    return written(dataset, syntax)


def shown(file: io.BytesIO) -> Array:
    header = read_header(file)
    return to_rgb(header, decode(file)).reshape(256, 3)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian], ids=lambda syntax: syntax.name)
@pytest.mark.parametrize(("depth", "stored"), [(16, "scaled"), (8, "packed")])
def test_a_palette_of_either_byte_order_has_the_colours_of_another_decoder(
    depth: int, stored: str, syntax: UID, tmp_path: Path
) -> None:
    file = palette(depth, stored, syntax)
    np.testing.assert_array_equal(shown(file), COLOURS.T)
    library = pytest.importorskip("SimpleITK")
    (tmp_path / "palette.dcm").write_bytes(file.getvalue())
    theirs = library.GetArrayFromImage(library.ReadImage(str(tmp_path / "palette.dcm")))
    np.testing.assert_array_equal(theirs.reshape(256, 3), COLOURS.T)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian], ids=lambda syntax: syntax.name)
def test_a_palette_of_eight_bits_in_words_is_known_by_its_length(syntax: UID) -> None:
    np.testing.assert_array_equal(shown(palette(8, "low", syntax)), COLOURS.T)


@pytest.mark.parametrize("stored", ["low", "packed"])
def test_a_palette_that_states_sixteen_bits_and_has_eight_is_refused(stored: str) -> None:
    with pytest.raises(StudyRefused, match="palette"):
        shown(palette(16, stored, ExplicitVRLittleEndian))
