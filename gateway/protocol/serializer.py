"""A model's buffers -> the bytes of the binary parts."""

import io
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from gateway.contract.requests import JSON, Buffer
from gateway.errors import AnswerInvalid
from gateway.protocol.kinds import kind_of

if TYPE_CHECKING:
    from pydicom import Dataset

_ENCAPSULATED = b"\xfe\xff\x00\xe0"
"""The item tag that opens compressed pixel data, little endian (PS3.5 A.4)."""


class InferenceSerializer:
    """Turns each buffer of an answer into a media type and bytes. Give a subclass to the gateway to send other things.

    A subclass may yield ``bytes``, any buffer, or ``str`` (sent as UTF-8), one pair for each entry of ``parts``.
    """

    def __call__(self, json_response: JSON, binary_components: Sequence[Buffer]) -> Iterator[tuple[str, Any]]:
        """Yield ``(media type, data)`` for each entry of ``parts`` and its buffer, in order.

        ``data`` is a memoryview of bytes; a C-contiguous array is not copied here. Raises AnswerInvalid for a buffer
        without bytes, ValueError if the two lists differ in length.
        """
        pairs = zip(json_response.get("parts", []), binary_components, strict=True)
        for index, (entry, buffer) in enumerate(pairs):
            yield kind_of(entry).media_type, as_bytes(buffer, f"/parts/{index}")


def as_bytes(buffer: Buffer, pointer: str) -> memoryview:
    """Return the bytes of ``buffer``: read-only, one dimension, format ``B``, without a copy where memory allows it.

    Arrays of any strides come in C order; bool as 0 and 1; files from their start; a pydicom Dataset as a Part 10
    file. Raises AnswerInvalid at ``pointer`` for anything else.
    """
    if isinstance(buffer, (numpy.ndarray, numpy.generic)):
        return _of_array(numpy.asarray(buffer), pointer)
    if _is_dataset(buffer):
        return _of_dataset(buffer, pointer)
    try:
        return _of_array(numpy.asarray(memoryview(buffer)), pointer)
    except (TypeError, ValueError):
        return _of_file(buffer, pointer)


def _of_array(array: "numpy.ndarray[Any, Any]", pointer: str) -> memoryview:
    if array.dtype.hasobject:
        raise AnswerInvalid(pointer, "The buffer is an array of Python objects; make it an array of numpy.uint8.")
    view = numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8)
    view.flags.writeable = False
    return view.data


def _of_file(file: Any, pointer: str) -> memoryview:
    if not hasattr(file, "read"):
        raise AnswerInvalid(
            pointer, f"A {type(file).__name__} is no buffer; return an array of numpy.uint8, bytes or an open file."
        )
    try:
        if isinstance(file, io.BytesIO):
            return memoryview(file.getvalue())  # shared, where read() may copy
        file.seek(0)
        return memoryview(file.read())
    except TypeError:
        raise AnswerInvalid(pointer, "The file was opened as text; open it with mode 'rb'.") from None
    except (OSError, ValueError) as error:
        raise AnswerInvalid(pointer, "The file cannot be read from its start; is it still open?") from error


def _is_dataset(buffer: Any) -> bool:
    """A Dataset can exist only where pydicom is loaded already, so nothing loads it here."""
    pydicom = sys.modules.get("pydicom")
    return pydicom is not None and isinstance(buffer, pydicom.Dataset)


def _of_dataset(dataset: "Dataset", pointer: str) -> memoryview:
    from pydicom import dcmwrite

    file = io.BytesIO()
    try:
        dcmwrite(file, _with_transfer_syntax(dataset), enforce_file_format=True)
    except Exception as error:  # whatever a value in the dataset provokes, the fault is the answer's
        raise AnswerInvalid(
            pointer,
            "The Dataset cannot be written as a DICOM file: it needs SOPClassUID, SOPInstanceUID, valid values and, "
            "if its pixels are compressed, file_meta.TransferSyntaxUID.",
        ) from error
    with file.getbuffer() as view:
        view[:128] = bytes(128)  # a preamble can be a second file (PS3.10 7.5): write zeros
    return memoryview(file.getvalue())


def _with_transfer_syntax(dataset: "Dataset") -> "Dataset":
    """Return the dataset, or a shallow copy with a transfer syntax if it lacks one; the original is unchanged."""
    from copy import copy, deepcopy

    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

    meta = getattr(dataset, "file_meta", None) or FileMetaDataset()
    if "TransferSyntaxUID" in meta:
        return dataset
    if bytes(dataset.get("PixelData") or b"").startswith(_ENCAPSULATED):
        raise ValueError("compressed pixels without a transfer syntax")
    twin = copy(dataset)
    twin.file_meta = deepcopy(meta)
    big = False in (dataset.original_encoding[1], getattr(dataset, "is_little_endian", None))
    twin.file_meta.TransferSyntaxUID = ExplicitVRBigEndian if big else ExplicitVRLittleEndian
    return twin
