"""The codecs: one codestream -> the bytes of its samples, by native code.

They run in a process of their own (``decoder``), so this module imports neither numpy nor pydicom, and each codec
when it is used. Words say what the header states. A codec returns its samples, unsigned or in two's complement, little
endian, in the smallest container that holds its precision, colour by pixel; and words on how they are to be read.
"""

import importlib
import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any, cast

Words = dict[str, Any]
"""Names and numbers that are JSON."""
Codec = Callable[[bytes, Words], tuple[bytes | bytearray, Words]]

RLE_HEADER = struct.Struct("<16I")
"""The number of segments, and where each begins (PS3.5 G.5)."""


def load(codec: str) -> None:
    """Import what a codec needs, which takes longer than a frame."""
    importlib.import_module(LIBRARIES[codec])


def decode(codestream: bytes, words: Words) -> tuple[bytes | bytearray, Words]:
    """Decode one frame by the codec that ``words`` name. Raises what the codec raises."""
    return CODECS[words["codec"]](codestream, words)


def _jpeg(codestream: bytes, words: Words) -> tuple[bytes, Words]:
    """JPEG of 8 bits by libjpeg. Colours are left as they are unless the stream says how they were transformed."""
    from PIL import Image

    with Image.open(BytesIO(codestream), formats=("JPEG",)) as image:
        said = "adobe_transform" in image.info
        if words["samples"] > 1 and not said:
            image.draft("YCbCr", image.size)
        return image.tobytes(), {"rgb": said}


def _jpeg_2000_grey(codestream: bytes, words: Words) -> tuple[bytes, Words]:
    """JPEG 2000 of one component and up to 16 bits by OpenJPEG, with several threads.

    Pillow shifts samples to the top of their container, and signed ones above zero; ``samples`` undoes it.
    """
    from PIL import Image

    with Image.open(BytesIO(codestream), formats=("JPEG2000",)) as image:
        return image.tobytes(), {"at_top": True}


def _jpeg_2000(codestream: bytes, words: Words) -> tuple[bytearray, Words]:
    """JPEG 2000 and HTJ2K of any depth and number of components by OpenJPEG, with one thread."""
    from openjpeg.utils import decode_pixel_data

    return cast(bytearray, decode_pixel_data(codestream, version=2)), {}


def _jpeg_ls(codestream: bytes, words: Words) -> tuple[bytearray, Words]:
    """JPEG-LS by CharLS."""
    from jpeg_ls import decode_pixel_data

    samples, info = decode_pixel_data(codestream)
    return samples, {"by_plane": info["components"] > 1 and info["interleave_mode"] == 0}


def _jpeg_lossless(codestream: bytes, words: Words) -> tuple[bytes, Words]:
    """JPEG Lossless by GDCM, which takes its facts from a data set."""
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(codestream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((words["columns"], words["rows"], 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(words["photometric"])
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(words["syntax"])))
    precision, container = words["precision"], 8 * words["container"]
    image.SetPixelFormat(gdcm.PixelFormat(words["samples"], container, precision, precision - 1, 0))
    return image.GetBuffer().encode("utf-8", "surrogateescape"), {}  # GDCM gives its bytes as a string


def _rle(codestream: bytes, words: Words) -> tuple[bytearray, Words]:
    """RLE Lossless (PS3.5 annex G): a segment for each byte of a sample, the most significant first, as PackBits."""
    from PIL import Image

    samples, width = words["samples"], words["container"]
    count, *starts = RLE_HEADER.unpack_from(codestream)
    starts = [*starts[: min(count, len(starts))], len(codestream)]
    if count != samples * width or starts != sorted({RLE_HEADER.size, *starts}):
        raise ValueError("the segments are not those of such an image, or overlap")
    pixels = words["rows"] * words["columns"]
    found = bytearray(pixels * count)
    for number in range(count):
        segment = codestream[starts[number] : starts[number + 1]]
        plane = Image.frombytes("L", (pixels, 1), segment, "packbits", "L")
        sample, byte = divmod(number, width)
        found[sample * width + width - 1 - byte :: count] = plane.tobytes()
    return found, {}


CODECS: dict[str, Codec] = {
    "pillow": _jpeg,
    "pillow-j2k": _jpeg_2000_grey,
    "pylibjpeg": _jpeg_2000,
    "pyjpegls": _jpeg_ls,
    "gdcm": _jpeg_lossless,
    "rle": _rle,
}
LIBRARIES = {
    "pillow": "PIL.Image",
    "pillow-j2k": "PIL.Image",
    "pylibjpeg": "openjpeg.utils",
    "pyjpegls": "jpeg_ls",
    "gdcm": "gdcm",
    "rle": "PIL.Image",
}
