"""WADO-RS (PS3.18 10.4): studies, series and instances, their metadata, frames and bulk data."""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import BinaryIO, NamedTuple

import flask

from gateway.dicom.web.frames import StoredImage, pixel_value
from gateway.dicom.web.json_model import JsonModel
from gateway.dicom.web.metadata import PIXEL_PLACES, bulk_value, instance_model
from gateway.dicom.web.transcoding import DEFAULT, explicit_little_endian, refuse_undecodable, stored_syntax
from gateway.dicom.web.xml_model import xml_model
from gateway.endpoints.access_control import require
from gateway.endpoints.dicomweb.frame_forms import OCTETS, frame_form, frame_numbers
from gateway.endpoints.dicomweb.recorded import recorder, require_audit
from gateway.endpoints.dicomweb.resources import JSON_TYPES, XML_TYPE, Addresses, accepted, found
from gateway.endpoints.dicomweb.streams import FileBytes, Stream, begun, headers_of, part_of
from gateway.endpoints.guarded_views import Rule
from gateway.errors import NotAcceptable
from gateway.protocol.media_ranges import MULTIPART, MediaRange, covers
from gateway.studies.instance_rows import HeldInstance
from gateway.wire import OutgoingPart

DICOM_TYPE = "application/dicom"
AS_STORED = "*"


class _Wanted(NamedTuple):
    """How DICOM files are sent: in parts or alone, and in which transfer syntaxes, the preferred first."""

    multipart: bool
    syntaxes: tuple[str, ...]


def _retrieve(study: str, series: str = "", sop: str = "") -> flask.Response:
    require("read")
    require_audit()
    instances = found(study, series, sop)
    wanted = _wanted(accepted(), len(instances))
    with Stream(recorder("dicomweb-retrieve", study), instances=len(instances)) as stream:
        files = stream.open(instances)
        chosen = [_syntax(file, wanted.syntaxes) for file in files]
        parts = _parts(Addresses(), instances, files, chosen)
        if not wanted.multipart:
            return stream.alone(next(parts))
        return stream.multipart(DICOM_TYPE, parts, sized=set(chosen) == {AS_STORED})


def _wanted(ranges: Sequence[MediaRange], count: int) -> _Wanted:
    """Choose the form by the first range that fits; others of the same form add transfer syntaxes."""
    chosen = [one for one in ranges if _is_multipart(one) or (count == 1 and one.media_type == DICOM_TYPE)]
    if not chosen:
        alone = "" if count == 1 else " Several instances are sent as multipart/related alone."
        raise NotAcceptable(f'This resource is sent as multipart/related; type="{DICOM_TYPE}".{alone}')
    multipart = _is_multipart(chosen[0])
    syntaxes = [one.transfer_syntax or DEFAULT for one in chosen if _is_multipart(one) == multipart]
    return _Wanted(multipart, tuple(dict.fromkeys(syntaxes)))


def _is_multipart(one: MediaRange) -> bool:
    return one.covers(MULTIPART) and (one.media_type != MULTIPART or covers(one.part_type, DICOM_TYPE))


def _syntax(file: BinaryIO, syntaxes: Sequence[str]) -> str:
    """Return the first transfer syntax that a file can be sent in: its own, or DEFAULT. Raises NotAcceptable."""
    if syntaxes[0] == AS_STORED:
        return AS_STORED
    stored = stored_syntax(file)
    for syntax in syntaxes:
        if syntax in (AS_STORED, stored):
            return AS_STORED
        if syntax == DEFAULT:
            refuse_undecodable(file, stored)
            return DEFAULT
    raise NotAcceptable(
        "An instance is stored in another transfer syntax than those that the request accepts, and only Explicit VR"
        " Little Endian can be made of it; accept transfer-syntax=* to get it as it is stored."
    )


def _parts(
    addresses: Addresses, instances: Iterable[HeldInstance], files: Iterable[BinaryIO], chosen: Iterable[str]
) -> Iterator[OutgoingPart]:
    for instance, file, syntax in zip(instances, files, chosen, strict=True):
        location = addresses.of_instance(instance)
        if syntax == AS_STORED:
            yield OutgoingPart(headers_of(DICOM_TYPE, location), instance.size, FileBytes(file, instance.size))
        else:
            yield part_of(DICOM_TYPE, explicit_little_endian(file), location)


def _metadata(study: str, series: str = "", sop: str = "") -> flask.Response:
    require("read")
    require_audit()
    as_xml, media_type = _metadata_form(accepted())
    instances = found(study, series, sop)
    with Stream(recorder("dicomweb-metadata", study), instances=len(instances)) as stream:
        models = map(partial(_model, Addresses()), instances, stream.open(instances))
        if as_xml:
            return stream.multipart(XML_TYPE, (part_of(XML_TYPE, xml_model(model)) for model in models))
        return stream.respond(_listed(begun(models)), {"Content-Type": media_type})


def _metadata_form(ranges: Sequence[MediaRange]) -> tuple[bool, str]:
    """Return whether XML is preferred, and the media type of JSON. Raises NotAcceptable."""
    for one in ranges:
        for media_type in JSON_TYPES:
            if one.covers(media_type):
                return False, media_type
        if one.media_type == MULTIPART and one.part_type == XML_TYPE:
            return True, XML_TYPE
    raise NotAcceptable(f'Metadata is sent as {JSON_TYPES[0]}, or as multipart/related; type="{XML_TYPE}".')


def _model(addresses: Addresses, instance: HeldInstance, file: BinaryIO) -> JsonModel:
    """Return the model of an instance; pixels and other large values have an address, and are not read."""
    root = f"{addresses.of_instance(instance)}/bulkdata/"
    return instance_model(file, lambda place: root + place)


def _listed(models: Iterable[JsonModel]) -> Iterator[bytes]:
    """A JSON array, one model at a time."""
    opening = b"["
    for model in models:
        yield opening + json.dumps(model, separators=(",", ":")).encode()
        opening = b","
    yield b"]"


def _frames(study: str, series: str, sop: str, numbers: str) -> flask.Response:
    require("read")
    require_audit()
    instances = found(study, series, sop)
    with Stream(recorder("dicomweb-frames", study), instances=1) as stream:
        (file,) = stream.open(instances)
        image = StoredImage(file)
        wanted = frame_numbers(numbers, image)
        form = frame_form(accepted(), image, file, len(wanted))
        parts = (part_of(form.content_type, form.bytes_of(image, number)) for number in wanted)
        return stream.multipart(form.media_type, parts) if form.multipart else stream.alone(next(parts))


def _bulk_data(study: str, series: str, sop: str, place: str) -> flask.Response:
    require("read")
    require_audit()
    instances = found(study, series, sop)
    multipart = _octets(accepted())
    with Stream(recorder("dicomweb-bulkdata", study), instances=1) as stream:
        (file,) = stream.open(instances)
        if place in PIXEL_PLACES:
            length, chunks = pixel_value(file)
            part = OutgoingPart(headers_of(OCTETS), length, chunks)
        else:
            part = part_of(OCTETS, bulk_value(file, place))
        return stream.multipart(OCTETS, [part], sized=True) if multipart else stream.alone(part)


def _octets(ranges: Sequence[MediaRange]) -> bool:
    """Return True for parts, False for the bytes alone. Raises NotAcceptable."""
    for one in ranges:
        if one.covers(MULTIPART) and (one.media_type != MULTIPART or covers(one.part_type, OCTETS)):
            return True
        if one.covers(OCTETS):
            return False
    raise NotAcceptable(f'Bulk data is sent as multipart/related; type="{OCTETS}", or as {OCTETS}.')


_INSTANCE = "/studies/<study>/series/<series>/instances/<sop>"
RULES: tuple[Rule, ...] = (
    ("GET", "/studies/<study>", _retrieve),
    ("GET", "/studies/<study>/series/<series>", _retrieve),
    ("GET", _INSTANCE, _retrieve),
    ("GET", "/studies/<study>/metadata", _metadata),
    ("GET", "/studies/<study>/series/<series>/metadata", _metadata),
    ("GET", f"{_INSTANCE}/metadata", _metadata),
    ("GET", f"{_INSTANCE}/frames/<numbers>", _frames),
    ("GET", f"{_INSTANCE}/bulkdata/<path:place>", _bulk_data),
)
