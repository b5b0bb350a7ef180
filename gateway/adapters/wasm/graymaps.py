"""Images as PGM for a function, and its masks from PBM or PGM (netpbm's formats).

The input is a PGM (P5) of 16 bits, big endian, of the values as they are stored, with the rescale in comments of its
header::

    P5
    # rescale-slope 1.0
    # rescale-intercept -33792.0
    # photometric-interpretation MONOCHROME2
    512 512
    65535

The value of a sample is ``sample * slope + intercept``, in HU for CT. Signed values are shifted by 32768, and so is the
intercept: no value is clipped, and the formula stays.
"""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.contract.requests import reserve
from gateway.dicom.decoding.windows import dose_scaling, linear
from gateway.dicom.reading.attributes import sequence, text
from gateway.dicom.reading.redaction import naming
from gateway.dicom.volumes.images import Image
from gateway.dicom.volumes.stack import GREY
from gateway.errors import AnswerInvalid, StudyRefused

LARGEST = 65535
SHIFT = 32768
"""What is added to signed values of 16 bits."""
SPACE = rb"(?:\s|#[^\n]{0,1000}\n){1,100}"
SIZE = SPACE + rb"(\d{1,6})" + SPACE + rb"(\d{1,6})"
HEADER = re.compile(rb"P(?:(?P<bits>4)|5)" + SIZE + rb"(?(bits)|" + SPACE + rb"(\d{1,5}))\s")


def graymap(image: Image) -> bytes:
    """Return an image as PGM. Raises StudyRefused for colour, for values beyond 16 bits, and for a table of values."""
    with naming(image.instance.source):
        photometric = text(image.header, "PhotometricInterpretation")
        if photometric not in GREY:
            raise StudyRefused("This model takes grey images; the image is in colour.")
        if sequence(image.header, "ModalityLUTSequence"):
            raise StudyRefused("This model takes images with a linear rescale; the image has a table of values.")
        slope, intercept = linear(image.header, image.frame) or (1.0, 0.0)
        slope, intercept = (number * (dose_scaling(image.header) or 1.0) for number in (slope, intercept))
    stored = image.stored
    reserve(2 * stored.nbytes)
    shift = SHIFT if np.issubdtype(stored.dtype, np.signedinteger) else 0
    if int(stored.min()) + shift < 0 or int(stored.max()) + shift > LARGEST:
        raise StudyRefused("This model takes images of 16 bits at most; an image has more.")
    samples = (stored.astype(np.int32) + shift).astype(">u2")
    head = [
        f"# rescale-slope {slope!r}",
        f"# rescale-intercept {intercept - shift * slope!r}",
        f"# photometric-interpretation {photometric}",
        f"{image.shape[1]} {image.shape[0]}",
        str(LARGEST),
    ]
    return "\n".join(["P5", *head, ""]).encode("ascii") + samples.tobytes()


def mask(data: bytes | bytearray, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Read a mask of ``shape`` (row, column): uint8, 0 to 255 of a PGM, 0 and 255 of a PBM.

    Raises AnswerInvalid for another format or another size.
    """
    found = HEADER.match(data)
    if found is None:
        raise AnswerInvalid("", "The function's output is neither a PBM (P4) nor a PGM (P5).")
    columns, rows, bits = int(found[2]), int(found[3]), found["bits"] is not None
    if (rows, columns) != shape:
        raise AnswerInvalid("", f"The function's mask has {rows} rows and {columns} columns, its image {shape}.")
    if not bits and found[4] != b"255":
        raise AnswerInvalid("", "The function's mask is a PGM of another largest value than 255.")
    width = (columns + 7) // 8 if bits else columns
    samples: NDArray[Any] = np.frombuffer(data, np.uint8, offset=found.end())
    if len(samples) != rows * width:
        raise AnswerInvalid("", "The function's mask is not as long as its header states.")
    samples = samples.reshape(rows, width)
    return np.unpackbits(samples, axis=1, count=columns) * np.uint8(255) if bits else samples
