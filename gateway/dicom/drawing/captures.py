"""Pictures of the DICOM objects in an answer that do not lie over the study."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gateway.contract.sop_classes import BY_STEM, ObjectKind
from gateway.dicom.decoding.pixels import decode, to_rgb
from gateway.dicom.drawing import render
from gateway.dicom.drawing.sheet import MAX_TILES, Tile, evenly, reduced
from gateway.dicom.reading.instances import Instance, read_instance
from gateway.errors import StudyRefused


class CarriedObject(NamedTuple):
    """A DICOM object of an answer: the name of its file, such as ``seg_0``, its bytes, and its masks on the study."""

    name: str
    data: Any
    masks: Sequence[Any] = ()

    @property
    def kind(self) -> ObjectKind:
        """The kind that its name begins with."""
        return BY_STEM[self.name.rpartition("_")[0]]


def pictured(out: Path | None, objects: Sequence[CarriedObject]) -> Iterator[tuple[Path, Tile]]:
    """Draw pictures of DICOM objects, and write them into ``out`` if that is set.

    Those without an image that can be shown, such as a report, are passed over.

    Of an object with many frames as many are shown, evenly, as leave half of the sheet to the study.
    """
    for name, data, _ in objects:
        try:
            instance = read_instance(io.BytesIO(data))
            for frame in evenly(range(instance.frames), max(1, MAX_TILES // 2 // len(objects))):
                yield _captured(out, name, instance, data, frame)
        except StudyRefused:
            continue


def _captured(out: Path | None, name: str, instance: Instance, data: Any, frame: int) -> tuple[Path, Tile]:
    several = instance.frames > 1
    pixels = decode(io.BytesIO(data), frame if several else None)
    picture = render.Canvas(to_rgb(instance.header, pixels, frame)).picture
    path = (out or Path()) / f"{name}{f'_frame{frame:0{len(str(instance.frames - 1))}}' if several else ''}.png"
    if out is not None:
        picture.save(path)
    return path, Tile(reduced(picture), 1.0, path.stem.replace("_frame", ", frame "), True)
