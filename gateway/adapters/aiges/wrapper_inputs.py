"""The parts of a request as the pieces that a wrapper declared."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from gateway.adapters.aiges.constants import DataText
from gateway.adapters.aiges.data import DataListCls, DataListNode, ReceivedNode
from gateway.adapters.aiges.fields import DicomBodyField
from gateway.errors import StudyRefused

Named = tuple[str | None, BinaryIO]
"""A part: the name in its Content-Disposition, and its bytes."""


def request_list(fields: Sequence[Any], parts: Sequence[Named], status: int) -> DataListCls:
    """Return ``reqData`` of the parts in their order.

    A part's name is its key. Parts without a name take the fields that no part names, in order; of these a
    DicomBodyField takes every part that is DICOM, and no other. The number of a part does not count as its name: form
    encoders need a name. Raises StudyRefused for more parts than fields.
    """
    kinds = {field.key: field.data_type for field in fields}
    request = DataListCls()
    for key, file in zip(_keys(fields, parts), (file for _, file in parts), strict=True):
        request.list.append(ReceivedNode(key, kinds.get(key, DataText), status, file))
    return request


def sample_list(fields: Iterable[Any]) -> DataListCls:
    """Return ``reqData`` of the declared test values; a DicomBodyField has a piece for each instance."""
    request = DataListCls()
    for field in fields:
        for value in field.test_values if isinstance(field, DicomBodyField) else [field.test_value]:
            node = DataListNode()
            node.key, node.data, node.len, node.type = field.key, value, len(value), field.data_type
            request.list.append(node)
    return request


def _keys(fields: Sequence[Any], parts: Sequence[Named]) -> Iterator[str]:
    known = {field.key for field in fields}
    names = [_name(name, number, known) for number, (name, _) in enumerate(parts, start=1)]
    free = [field for field in fields if field.key not in names]
    dicom = next((field.key for field in free if isinstance(field, DicomBodyField)), None)
    others = iter([field.key for field in free if not isinstance(field, DicomBodyField)])
    for name, (_, file) in zip(names, parts, strict=True):
        key = name or (dicom if dicom and _is_dicom(file) else next(others, None))
        if key is None:
            raise StudyRefused(
                "The request has a part for which the wrapper declares no field; name it, or leave it out."
            )
        yield key


def _name(name: str | None, number: int, known: set[str]) -> str | None:
    return None if name == str(number) and name not in known else name


def _is_dicom(file: BinaryIO) -> bool:
    """Return True if a part is a DICOM file (PS3.10 7.1)."""
    file.seek(128)
    magic = file.read(4)
    file.seek(0)
    return magic == b"DICM"
