"""Pixels are decoded to the stored values, and displayed by the standard."""

import struct
import subprocess
import sys
from io import BytesIO
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

from gateway.dicom.decoding import pixels
from gateway.dicom.decoding.codestreams import CodestreamHeader, announced
from gateway.dicom.decoding.pixels import convert_monochrome_1to2, decode, to_rgb
from gateway.dicom.reading.files import NotAnInstance, convert_dataset_to_bytes
from gateway.dicom.reading.instances import Instance, read_instance
from gateway.errors import LimitExceeded, StudyRefused
from tests.conftest import ROOT
from tests.dicom.studies import image

Array = np.ndarray[Any, Any]

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
FILES = sorted(str(path.relative_to(SHIPPED)) for path in SHIPPED.rglob("*") if path.is_file())
DECODABLE = {
    "little endian": "CT_small.dcm",
    "big endian": "MR_small_bigendian.dcm",
    "implicit": "MR_small_implicit.dcm",
    "padded": "MR_small_padded.dcm",
    "deflated": "image_dfl.dcm",
    "32 bits, frames": "rtdose.dcm",
    "RLE": "MR_small_RLE.dcm",
    "RLE 16-bit colour, frames": "SC_rgb_rle_16bit_2frame.dcm",
    "JPEG baseline RGB": "SC_rgb_dcmtk_+eb+cr.dcm",
    "JPEG-LS": "MR_small_jpeg_ls_lossless.dcm",
    "JPEG-LS near-lossless": "JPEGLSNearLossless_16.dcm",
    "JPEG 2000 lossless": "MR_small_jp2klossless.dcm",
    "JPEG 2000": "693_J2KI.dcm",
}
REFUSED = {
    "JPEG-lossy.dcm": "12 bits",
    "JPGExtended.dcm": "12 bits",
    "JPEG2000-embedded-sequence-delimiter.dcm": "not of the size",
    "MR_truncated.dcm": "missing or broken",
    "liver_1frame.dcm": "NumberOfFrames (0028,0008)",
    "liver_expb_1frame.dcm": "NumberOfFrames (0028,0008)",
    "badVR.dcm": "NumberOfFrames (0028,0008)",
    "rtplan_truncated.dcm": "cut off",
}
"""The refused images of the set; its other refused files have no image."""

YBR = ("SC_rgb_jpeg_dcmtk.dcm", "examples_ybr_color.dcm", "SC_ybr_full_422_uncompressed.dcm")


def stored(name: str) -> Array:
    """The oracle: pydicom's own array of a whole dataset."""
    return pydicom.dcmread(SHIPPED / name).pixel_array


def in_memory(dataset: Dataset) -> BytesIO:
    return BytesIO(convert_dataset_to_bytes(dataset))


def expected_refusal(name: str) -> str:
    if name == "SC_rgb_jpeg_gdcm.dcm":
        return "python-gdcm"
    return REFUSED.get(name, "holds no image")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", FILES)
def test_every_file_of_a_hostile_collection_gives_a_picture_or_an_error_of_the_gateway(name: str) -> None:
    try:
        instance = read_instance(SHIPPED / name)
        array = decode(SHIPPED / name)
    except NotAnInstance:
        assert (SHIPPED / name).read_bytes()[128:132] != b"DICM" or "DICOMDIR" in name
    except StudyRefused as refused:
        assert expected_refusal(name) in refused.detail
    else:
        assert name not in REFUSED
        check_sane(instance, array)


def check_sane(instance: Instance, array: Array) -> None:
    frames = (instance.frames,) if instance.frames > 1 else ()
    colour = (3,) if instance.header.SamplesPerPixel == 3 else ()
    assert array.shape == (*frames, instance.rows, instance.columns, *colour)
    assert array.dtype.isnative and array.dtype.itemsize * 8 == max(8, instance.header.BitsAllocated)
    shown = to_rgb(instance.header, array[0] if frames else array)
    assert (shown.shape, shown.dtype) == ((instance.rows, instance.columns, 3), np.uint8)


@pytest.mark.parametrize("name", DECODABLE.values(), ids=DECODABLE)
def test_decoded_values_are_those_of_pydicom(name: str) -> None:
    found, expected = decode(SHIPPED / name), stored(name)
    assert found.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian", "expb", "implicit", "padded"])
def test_one_image_in_any_lossless_encoding_decodes_to_the_same_values(name: str) -> None:
    np.testing.assert_array_equal(decode(SHIPPED / f"MR_small_{name}.dcm"), decode(SHIPPED / "MR_small.dcm"))


@pytest.mark.parametrize("name", YBR)
def test_luminance_and_chrominance_are_converted_to_rgb(name: str) -> None:
    y, cb, cr = np.moveaxis(pixel_array(SHIPPED / name, raw=True).astype(float), -1, 0)
    by_standard = (y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128))
    np.testing.assert_allclose(decode(SHIPPED / name), np.stack(by_standard, -1).clip(0, 255), atol=1)


def test_jpeg_lossless_is_decoded_by_gdcm() -> None:
    pytest.importorskip("gdcm")
    np.testing.assert_array_equal(decode(SHIPPED / "SC_rgb_jpeg_gdcm.dcm"), decode(SHIPPED / "SC_rgb_rle.dcm"))


def test_simple_itk_decodes_the_same_values(tmp_path: Path) -> None:
    library = pytest.importorskip("SimpleITK")
    theirs = library.GetArrayFromImage(library.ReadImage(str(SHIPPED / "MR_small.dcm")))[0]
    np.testing.assert_array_equal(decode(SHIPPED / "MR_small_jpeg_ls_lossless.dcm"), theirs)


@pytest.mark.parametrize(
    ("module", "name", "package"),
    [
        ("gdcm", "SC_rgb_jpeg_gdcm.dcm", "python-gdcm"),
        ("pylibjpeg", "GDCMJ2K_TextGBR.dcm", "pylibjpeg-openjpeg"),
        ("jpeg_ls", "MR_small_jpeg_ls_lossless.dcm", "pyjpegls"),
    ],
)
def test_a_decoder_that_is_not_installed_is_named_in_one_sentence(module: str, name: str, package: str) -> None:
    probe = (
        f"import sys, pathlib; sys.modules[{module!r}] = None\n"  # Python's own way to make an import fail
        "from gateway.dicom.decoding.pixels import decode\nfrom gateway.errors import StudyRefused\n"
        f"try:\n    decode(pathlib.Path({str(SHIPPED / name)!r}))\n"
        "except StudyRefused as refused:\n    print(refused.detail)"
    )
    ran = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip().endswith(f"cannot be decoded here: install {package} on this machine.")


@pytest.mark.parametrize("name", ["rtdose.dcm", "examples_ybr_color.dcm", "SC_rgb_rle_2frame.dcm"])
def test_one_frame_is_that_frame_of_all(name: str) -> None:
    np.testing.assert_array_equal(decode(SHIPPED / name, 1), decode(SHIPPED / name)[1])


@pytest.mark.parametrize("frame", [-1, 2])
def test_a_frame_that_is_not_there_is_refused(frame: int) -> None:
    with pytest.raises(StudyRefused, match=f"no frame {frame}: it has 2, counted from 0"):
        decode(SHIPPED / "SC_rgb_rle_2frame.dcm", frame)


def test_a_file_object_is_left_open_at_its_start() -> None:
    file = BytesIO((SHIPPED / "MR_small.dcm").read_bytes())
    file.seek(77)
    np.testing.assert_array_equal(decode(file), decode(SHIPPED / "MR_small.dcm"))
    assert not file.closed and file.tell() == 0


@pytest.mark.parametrize(
    "name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_dcmtk.dcm"]
)
@pytest.mark.parametrize("keyword", ["Rows", "Columns"])
def test_a_codestream_of_another_size_than_the_header_is_never_decoded(name: str, keyword: str) -> None:
    dataset = pydicom.dcmread(SHIPPED / name)
    setattr(dataset, keyword, dataset[keyword].value - 1)
    with pytest.raises(StudyRefused, match="not of the size that its header states"):
        decode(in_memory(dataset))


def test_more_bytes_than_the_limit_are_refused_before_any_is_decoded() -> None:
    dataset = image()
    dataset.Rows = dataset.Columns = 65535
    with pytest.raises(LimitExceeded) as refused:
        decode(in_memory(dataset))
    assert refused.value.members == {"limit": "MAX_DECODED_BYTES", "value": pixels.MAX_DECODED_BYTES}


def test_an_unknown_photometric_interpretation_is_refused() -> None:
    dataset = image()
    dataset.PhotometricInterpretation = "CMYK"
    with pytest.raises(StudyRefused, match="PhotometricInterpretation"):
        decode(in_memory(dataset))


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless])
@given(st.binary(max_size=64))
def test_any_bytes_announce_one_image_or_no_image(syntax: str, tail: bytes) -> None:
    start = b"\xff\xd8" if syntax == JPEGBaseline8Bit else b"\x00\x00\x00\x0cjP  \r\n\x87\n"
    found = announced(start + tail)
    assert found is None or (found.rows >= 0 and found.columns >= 0)


def test_a_codestream_in_a_jp2_file_has_its_size_depth_and_sign() -> None:
    sizes = struct.pack(">4I16xH3B", 75, 42, 5, 2, 1, 0x80 | 11, 1, 1)
    codestream = b"\xff\x4f\xff\x51" + bytes(4) + sizes
    boxes = b"\x00\x00\x00\x0cjP  \r\n\x87\n" + (8 + len(codestream)).to_bytes(4, "big") + b"jp2c" + codestream
    assert announced(codestream) == announced(boxes) == CodestreamHeader("JPEG 2000", 40, 70, 1, 12, signed=True)


def header(**attributes: Any) -> Dataset:
    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


RAMP = np.arange(-40, 60, dtype=np.int16).reshape(10, 10)


def by_hand(x: float, centre: float, width: float, function: str) -> float:
    """PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2, with an output of 0 to 255."""
    if function == "SIGMOID":
        return 255 / (1 + exp(-4 * (x - centre) / width))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    if x <= centre - width / 2:
        return 0
    return 255 if x > centre + width / 2 else ((x - centre) / width + 0.5) * 255


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_window_is_applied_to_rescaled_values_as_the_standard_writes_it(function: str) -> None:
    shown = to_rgb(
        header(WindowCenter=12, WindowWidth=50, VOILUTFunction=function, RescaleSlope=2, RescaleIntercept=-10), RAMP
    )
    expected = [by_hand(2 * x - 10, 12, 50, function) for x in RAMP.ravel().tolist()]
    np.testing.assert_allclose(shown[..., 0].ravel(), expected, atol=0.51)
    assert (shown[..., 0] == shown[..., 1]).all() and (shown[..., 0] == shown[..., 2]).all()


def test_the_first_of_several_windows_counts() -> None:
    several = to_rgb(header(WindowCenter=[5, 900], WindowWidth=[30, 2]), RAMP)
    np.testing.assert_array_equal(several, to_rgb(header(WindowCenter=5, WindowWidth=30), RAMP))


def test_monochrome1_is_shown_inverted() -> None:
    words = {"WindowCenter": 5, "WindowWidth": 30}
    dark_first = to_rgb(header(**words), RAMP)
    np.testing.assert_array_equal(
        to_rgb(header(PhotometricInterpretation="MONOCHROME1", **words), RAMP), 255 - dark_first
    )


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 0, "WindowWidth": 0}, {"WindowCenter": 0, "WindowWidth": -9}])
def test_without_a_valid_window_nearly_all_values_stay_distinct(window: dict[str, int]) -> None:
    shown = to_rgb(header(**window), RAMP)[..., 0].ravel()
    assert (shown[0], shown[-1]) == (0, 255) and len(np.unique(shown)) > 90


def test_a_window_of_a_single_value_is_a_step_above_it() -> None:
    shown = to_rgb(header(WindowCenter=10.5, WindowWidth=1), RAMP)[..., 0]
    np.testing.assert_array_equal(shown, np.where(RAMP > 10, 255, 0))


def test_padding_does_not_widen_the_window() -> None:
    padded = RAMP.copy()
    padded[:5] = -2000
    shown = to_rgb(header(PixelPaddingValue=-2000), padded)[..., 0]
    assert not shown[:5].any() and len(np.unique(shown[5:])) > 40


@given(
    st.sampled_from([np.uint8, np.int16, np.uint16, np.uint32, np.float32, np.float64]).flatmap(
        lambda dtype: arrays(dtype, (1, 1)).map(lambda one: np.repeat(np.repeat(one, 4, 0), 5, 1))
    ),
    st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
)
def test_a_constant_image_of_any_value_is_shown_as_one_grey(constant: Array, photometric: str) -> None:
    shown = to_rgb(header(PhotometricInterpretation=photometric), constant)
    assert (shown.shape, shown.dtype, len(np.unique(shown))) == ((4, 5, 3), np.uint8, 1)


@given(arrays(np.float32, (3, 4)), st.one_of(st.just({}), st.just({"WindowCenter": 0.5, "WindowWidth": 0.2})))
def test_floats_that_are_no_numbers_never_spoil_a_picture(values: Array, window: dict[str, float]) -> None:
    assert to_rgb(header(**window), values).shape == (3, 4, 3)


def test_colour_of_eight_bits_is_shown_as_it_is_and_of_sixteen_by_its_upper_byte() -> None:
    colour = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    rgb = header(PhotometricInterpretation="RGB", BitsStored=8)
    np.testing.assert_array_equal(to_rgb(rgb, colour), colour)
    rgb.BitsStored = 16
    np.testing.assert_array_equal(to_rgb(rgb, colour.astype(np.uint16) * 257), colour)


def test_a_palette_is_looked_up() -> None:
    dataset = pydicom.dcmread(SHIPPED / "examples_palette.dcm")
    expected = apply_color_lut(dataset.pixel_array, dataset)
    shown = to_rgb(dataset, decode(SHIPPED / "examples_palette.dcm"))
    assert expected.dtype == np.uint16 and len(np.unique(shown.reshape(-1, 3), axis=0)) > 10
    np.testing.assert_allclose(shown, expected / 257, atol=0.51)


def test_a_broken_palette_is_refused() -> None:
    dataset = pydicom.dcmread(SHIPPED / "examples_palette.dcm")
    del dataset.RedPaletteColorLookupTableData
    with pytest.raises(StudyRefused, match="display attributes"):
        to_rgb(dataset, decode(SHIPPED / "examples_palette.dcm"))


def test_a_look_up_table_is_applied_before_any_window() -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4, 10, 8], [0, 255, 9, 100]
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    words = {"VOILUTSequence": [table], "WindowCenter": 0, "WindowWidth": 1}
    assert to_rgb(header(**words), np.array([[5, 11, 12, 99]], np.int16))[0, :, 0].tolist() == [0, 255, 9, 100]


def test_a_frame_of_an_enhanced_image_is_shown_by_its_own_window() -> None:
    frames = []
    for centre in (-20, 30):
        frames.append(Dataset())
        frames[-1].FrameVOILUTSequence = [header(WindowCenter=centre, WindowWidth=20)]
    enhanced = header(PerFrameFunctionalGroupsSequence=frames)
    for frame, centre in enumerate((-20, 30)):
        expected = to_rgb(header(WindowCenter=centre, WindowWidth=20), RAMP)
        np.testing.assert_array_equal(to_rgb(enhanced, RAMP, frame), expected)


@pytest.mark.parametrize("shape", [(4,), (2, 4, 5), (2, 4, 5, 3), (4, 5, 4)])
def test_to_rgb_refuses_more_than_one_frame(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one frame"):
        to_rgb(header(), np.zeros(shape, np.uint8))


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_an_image_stored_as_monochrome2_looks_as_it_did_as_monochrome1(signed: int, function: str) -> None:
    values = np.arange(256).reshape(16, 16) - 128 * signed
    dataset = image(pixels=values)
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME1", signed
    dataset.BitsStored, dataset.HighBit, dataset.RescaleSlope, dataset.RescaleIntercept = 12, 11, 2, -100
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = 20, 150, function
    before = to_rgb(dataset, decode(in_memory(dataset)))
    assert convert_monochrome_1to2(dataset) is dataset
    assert dataset.PhotometricInterpretation == "MONOCHROME2"
    np.testing.assert_allclose(to_rgb(dataset, decode(in_memory(dataset))).astype(int), before, atol=1)


def test_only_monochrome1_is_converted() -> None:
    dataset = image()
    before = dataset.to_json()
    assert convert_monochrome_1to2(dataset).to_json() == before


def test_monochrome1_without_integer_pixels_cannot_be_converted() -> None:
    with pytest.raises(StudyRefused, match="integer pixels"):
        convert_monochrome_1to2(header(PhotometricInterpretation="MONOCHROME1"))
