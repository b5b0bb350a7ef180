"""Renderings of instances and frames as PNG or JPEG (PS3.18 10.4.1.1.3)."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import flask

from gateway.dicom.web.frames import StoredImage
from gateway.dicom.web.rendering import FORMATS, Rendering, read_rendering, render_frame
from gateway.endpoints.access_control import require
from gateway.endpoints.dicomweb.frame_forms import frame_numbers
from gateway.endpoints.dicomweb.recorded import recorder, require_audit
from gateway.endpoints.dicomweb.resources import accepted, found
from gateway.endpoints.dicomweb.streams import Stream, part_of
from gateway.endpoints.guarded_views import Rule
from gateway.errors import NotAcceptable
from gateway.protocol.media_ranges import MULTIPART, MediaRange, covers
from gateway.wire import OutgoingPart


def _rendered(study: str, series: str = "", sop: str = "", numbers: str = "1") -> flask.Response:
    """Render the named frames of an instance, the first where none is named; of a series or study one an instance."""
    require("read")
    require_audit()
    rendering = read_rendering(*(flask.request.args.get(name, "") for name in ("window", "viewport", "quality")))
    instances = found(study, series, sop)
    with Stream(recorder("dicomweb-rendered", study), instances=len(instances)) as stream:
        files = stream.open(instances)
        count = max(len(files), len(numbers.split(",")))
        multipart, media_type = _form(accepted(), count)
        parts = _parts(files, numbers, rendering, media_type)
        return stream.multipart(media_type, parts) if multipart else stream.alone(next(parts))


def _parts(files: Sequence[BinaryIO], numbers: str, rendering: Rendering, media_type: str) -> Iterator[OutgoingPart]:
    for image in _images(files):
        for number in frame_numbers(numbers, image):
            yield part_of(media_type, render_frame(image, number, rendering, media_type))


def _images(files: Sequence[BinaryIO]) -> Iterator[StoredImage]:
    """The images of a resource, without the reports beside them. Raises NotAcceptable where there is no image."""
    images = 0
    for place, file in enumerate(files, 1):
        try:
            image = StoredImage(file)
        except NotAcceptable:
            if place == len(files) and not images:
                raise
            continue
        images += 1
        yield image


def _form(ranges: Sequence[MediaRange], count: int) -> tuple[bool, str]:
    """Return whether pictures are sent as parts, and their media type. Raises NotAcceptable."""
    for one in ranges:
        multipart = one.media_type == MULTIPART or (count > 1 and one.covers(MULTIPART))
        wanted = one.part_type if one.media_type == MULTIPART else one.media_type
        if multipart or count == 1:
            for media_type in FORMATS:
                if covers(wanted, media_type):
                    return multipart, media_type
    alone = " Several pictures are sent as multipart/related alone." if count > 1 else ""
    raise NotAcceptable(f"Renderings are sent as {' and '.join(FORMATS)}.{alone}")


_INSTANCE = "/studies/<study>/series/<series>/instances/<sop>"
RULES: tuple[Rule, ...] = (
    ("GET", "/studies/<study>/rendered", _rendered),
    ("GET", "/studies/<study>/series/<series>/rendered", _rendered),
    ("GET", f"{_INSTANCE}/rendered", _rendered),
    ("GET", f"{_INSTANCE}/frames/<numbers>/rendered", _rendered),
)
