"""Tensors of a request: arrays that are files of it, in place of DICOM.

The request's JSON describes them in ``MEMBER``, one entry for each::

    {"name": "volume", "datatype": "FP32", "shape": [300, 512, 512], "file": 0}

The bytes lie in the file of that number, little-endian and in C order, as numpy reads them. Names of data types are
those of the Open Inference Protocol v2.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from gateway.contract.requests import JSON
from gateway.errors import ParameterRefused

MEMBER = "$tensors"
"""The member of the request's JSON; no parameter of a Python function can have this name."""
BYTES = "BYTES"
"""The data type of texts and files: each element has a length of its own."""
DTYPES: Mapping[str, str] = {
    "BOOL": "|b1",
    "UINT8": "|u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "|i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""Data types of numbers, and numpy's names of them. BF16 is absent: numpy has no such type."""
MAX_AXES = 8
"""Axes of a tensor; an image in colour with time points and channels has six."""
MAX_LENGTH = 1 << 31
"""Elements along one axis, which is more than any file has; numpy's own limit is that of the whole."""
MAX_NAME = 128
"""Characters of a tensor's name: that of a function's argument, and a word."""


@dataclass(frozen=True)
class Tensor:
    """A tensor by its description. ``file`` is its place among the files of the request, from 0."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    file: int = 0

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of a tensor of numbers."""
        return self.size * int(DTYPES[self.datatype][2:])

    @property
    def dtype(self) -> str:
        """The name that numpy has for the data type of a tensor of numbers."""
        return DTYPES[self.datatype]

    def entry(self) -> JSON:
        """Return the entry of ``MEMBER``."""
        return asdict(self) | {"shape": list(self.shape)}

    @classmethod
    def of(cls, entry: Any, at: str) -> Self:
        """Read name, data type and shape of an entry of JSON; ``at`` is its pointer. Raises ParameterRefused."""
        if not isinstance(entry, dict):
            raise ParameterRefused([(at, "A tensor should be an object with name, datatype and shape.")])
        name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
        if not (isinstance(name, str) and 0 < len(name) <= MAX_NAME):
            raise ParameterRefused([(f"{at}/name", f"The name should be text of 1 to {MAX_NAME} characters.")])
        if not isinstance(datatype, str) or (datatype != BYTES and datatype not in DTYPES):
            known = ", ".join((*DTYPES, BYTES))
            raise ParameterRefused([(f"{at}/datatype", f"The datatype should be one of {known}.")])
        if not isinstance(shape, list) or len(shape) > MAX_AXES or not all(map(_is_length, shape)):
            sentence = f"The shape should be a list of at most {MAX_AXES} whole numbers of 0 to {MAX_LENGTH}."
            raise ParameterRefused([(f"{at}/shape", sentence)])
        return cls(name, datatype, tuple(shape))


def _is_length(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_LENGTH


def tensors_of(json: Mapping[str, Any], sizes: Sequence[int]) -> list[Tensor]:
    """Read the tensors that a request's JSON describes; ``sizes`` are the bytes of its files.

    Raises ParameterRefused for an entry that is malformed, two of one name or one file, or a file of another size.
    """
    entries = json.get(MEMBER, [])
    if not isinstance(entries, list):
        raise ParameterRefused([(f"/{MEMBER}", "The tensors should be a list.")])
    found: list[Tensor] = []
    for number, entry in enumerate(entries):
        at = f"/{MEMBER}/{number}"
        tensor, file = Tensor.of(entry, at), entry.get("file")
        if type(file) is not int or not 0 <= file < len(sizes) or any(file == one.file for one in found):
            raise ParameterRefused(
                [(f"{at}/file", "The file should be a place among the request's files, of its own.")]
            )
        if any(tensor.name == one.name for one in found):
            raise ParameterRefused([(f"{at}/name", "Another tensor has this name.")])
        if tensor.datatype != BYTES and tensor.nbytes != sizes[file]:
            sentence = f"The shape needs {tensor.nbytes} bytes of {tensor.datatype}; the file has {sizes[file]}."
            raise ParameterRefused([(f"{at}/shape", sentence)])
        found.append(Tensor(tensor.name, tensor.datatype, tensor.shape, file))
    return found
