"""An answer as files: their names, and their bytes."""

import io
import json
import math
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from gateway.contract.requests import Result
from gateway.contract.sop_classes import DECLARED, OTHER, ObjectKind, object_kind
from gateway.dicom.reading.attributes import text
from gateway.dicom.reading.files import read_header
from gateway.errors import AnswerInvalid, GatewayError
from gateway.protocol.buffers import shape_of
from gateway.protocol.kinds import DICOM, kind_of

RESPONSE = "response.json"
MASK = "output_masks_{}.npy"
"""The name of a mask, counted from 1."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of each file in an archive, so that one answer makes one archive."""


class Answered(Protocol):
    """An answer of protocol 1.0 in memory: its JSON, and a buffer and a media type for each of its parts."""

    @property
    def json(self) -> dict[str, Any]:
        """The JSON."""

    @property
    def buffers(self) -> Sequence[memoryview]:
        """The bytes of the parts."""

    @property
    def media_types(self) -> Sequence[str]:
        """The media types of the parts."""


@dataclass(frozen=True)
class SentAnswer:
    """A result as its receiver sees it."""

    json: dict[str, Any]
    buffers: Sequence[memoryview]
    media_types: Sequence[str]

    @classmethod
    def of(cls, result: Result) -> Self:
        """Read a result."""
        document = json.loads(result.json_bytes)
        return cls(document, [part.data for part in result.parts], [part.media_type for part in result.parts])


def parts_of(answer: Answered) -> list[dict[str, Any]]:
    """The entries of the JSON that describe the buffers, in the same order."""
    return list(answer.json.get("parts") or answer.json.get("aiges") or [])


def mask_array(part: dict[str, Any], data: memoryview, pointer: str) -> NDArray[np.uint8]:
    """Return a mask: uint8, (time point, slice, row, column) as far as declared, C order, read-only.

    Raises AnswerInvalid where the bytes do not fill the declared shape.
    """
    declared = part.get("binary_data_shape")
    shape = shape_of(declared) if isinstance(declared, dict) else []
    whole = len(shape) >= 2 and all(isinstance(n, int) and n >= 0 for n in shape)
    if not whole or math.prod(shape) != len(data):
        sentence = f"The mask at {pointer} has {len(data)} bytes, which do not fill its binary_data_shape."
        raise AnswerInvalid(pointer, sentence)
    return np.frombuffer(data, np.uint8).reshape(shape)


def object_names(answer: Answered) -> dict[int, str]:
    """Return the names of the DICOM parts by their index in ``parts``: ``seg_0``, ``sr_0``, ``seg_1`` ..."""
    counts, names = Counter[str](), dict[int, str]()
    for index, part in enumerate(parts_of(answer)):
        if answer.media_types[index] == DICOM and not kind_of(part).is_mask:
            stem = _kind_of(str(part.get("binary_type")), answer.buffers[index]).stem
            names[index] = f"{stem}_{counts[stem]}"
            counts[stem] += 1
    return names


def response_json(document: dict[str, Any]) -> bytes:
    """Return the JSON of an answer as a file."""
    return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


File = tuple[str, bytes | memoryview]
"""A file of an answer: its name and its bytes."""


def answer_files(answer: Answered, masks: Iterator[File] | None = None) -> Iterator[File]:
    """Yield the files of an answer by name: JSON, masks as ``.npy``, DICOM by what it is, and all else.

    ``masks`` are the files of the masks in another form, in their order. Raises AnswerInvalid for a mask that does not
    fill its shape.
    """
    masks = _npy_files(answer) if masks is None else masks
    yield RESPONSE, response_json(answer.json)
    names = object_names(answer)
    for index, (part, data) in enumerate(zip(parts_of(answer), answer.buffers, strict=True)):
        yield next(masks) if kind_of(part).is_mask else (other_name(names, index), data)


def _npy_files(answer: Answered) -> Iterator[File]:
    number = 0
    for index, (part, data) in enumerate(zip(parts_of(answer), answer.buffers, strict=True)):
        if kind_of(part).is_mask:
            number += 1
            yield MASK.format(number), _npy(mask_array(part, data, f"/parts/{index}"))


def other_name(names: dict[int, str], index: int) -> str:
    """Return the name of a part that is no mask; ``names`` are those of ``object_names``."""
    return f"{names[index]}.dcm" if index in names else f"part_{index}.bin"


def archive(files: Iterable[File]) -> bytes:
    """Return files as a ZIP archive, the same bytes for the same files. Raises what ``files`` raises."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as written:
        for name, data in files:
            written.writestr(zipfile.ZipInfo(name, EPOCH), data, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _npy(array: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _kind_of(binary_type: str, data: memoryview) -> ObjectKind:
    """The kind of a DICOM part: as declared, else by the SOP Class of the file; OTHER where neither is known."""
    if binary_type in DECLARED:
        return DECLARED[binary_type]
    try:
        return object_kind(text(read_header(io.BytesIO(data)), "SOPClassUID"))
    except GatewayError:  # a broken file is saved too
        return OTHER
