"""Manifests: JSON -> entries of files to be sent, checked by pattern before anything else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import FailFast, Field, StringConstraints, TypeAdapter, ValidationError

from gateway.errors import BrokenJSON, LimitExceeded

MAX_INSTANCE_BYTES = (1 << 53) - 1
"""The largest whole number that every JSON reader agrees on (RFC 8259 6)."""

Uid = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,64}(\.[0-9]{1,64}){0,31}$", max_length=64)]
"""PS3.5 9.1: numbers and dots, 64 characters at most. Leading zeros are forbidden there, and found in the field."""
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(strict=True, ge=0, le=MAX_INSTANCE_BYTES)]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """A DICOM file: its UIDs, its size in bytes, its digest."""

    sop_instance_uid: Uid
    series_instance_uid: Uid
    study_instance_uid: Uid
    size: Size
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class ChunkManifest:
    """The files that follow in the same body."""

    instances: Annotated[list[ManifestEntry], Field(min_length=1), FailFast()]


_ATTRIBUTES = {
    "sop_instance_uid": "SOP Instance UID",
    "series_instance_uid": "Series Instance UID",
    "study_instance_uid": "Study Instance UID",
}

_LIST = TypeAdapter(Annotated[list[ManifestEntry], FailFast()])
_CHUNK = TypeAdapter(ChunkManifest)
_UID = TypeAdapter(Uid)
_DIGEST = TypeAdapter(Sha256)


def read_manifest(data: bytes, max_entries: int) -> Sequence[ManifestEntry]:
    """A list of entries. Raises BrokenJSON, LimitExceeded (``max_parts``)."""
    return _limited(read(_LIST, data), max_entries)


def read_chunk(data: bytes, max_entries: int) -> Sequence[ManifestEntry]:
    """The entries of a chunk, none of them twice. Raises BrokenJSON, LimitExceeded (``max_parts``)."""
    entries = _limited(read(_CHUNK, data).instances, max_entries)
    if len({entry.sop_instance_uid for entry in entries}) < len(entries):
        raise BrokenJSON("The JSON names a SOP Instance UID twice; send each instance once in a chunk.")
    return entries


def is_uid(value: Any) -> bool:
    """Return True if a value is the text of a UID."""
    return _valid(_UID, value)


def is_digest(value: Any) -> bool:
    """Return True if a value is the text of a sha256 in lower-case hexadecimal."""
    return _valid(_DIGEST, value)


def _valid(kind: TypeAdapter[Any], value: Any) -> bool:
    try:
        kind.validate_python(value)
    except ValidationError:
        return False
    return True


def read(kind: TypeAdapter[T], data: bytes) -> T:
    """JSON of one shape. Raises BrokenJSON with where it is not, and without a value of it."""
    try:
        return kind.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = "".join(f"/{step}" for step in first["loc"])
        known = place if place.isascii() and len(place) <= 64 else ""
        kind_of_fault = "it is no JSON" if first["type"] == "json_invalid" else first["type"].replace("_", " ")
        if first["loc"] and (attribute := _ATTRIBUTES.get(str(first["loc"][-1]))):
            kind_of_fault = f"the {attribute} is missing or is not a UID (PS3.5 9.1)"
        raise BrokenJSON(
            f"The JSON is not as this route reads it: {kind_of_fault}{known and f' at {known}'}."
        ) from None


def _limited(entries: list[ManifestEntry], most: int) -> list[ManifestEntry]:
    if len(entries) > most:
        raise LimitExceeded("max_parts", most, "entries", what="The manifest")
    return entries
