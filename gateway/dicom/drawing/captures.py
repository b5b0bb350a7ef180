"""Pictures of the DICOM objects in an answer that do not lie over the study."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.dicom.decoding.pixels import decode, to_rgb
from gateway.dicom.drawing import render
from gateway.dicom.drawing.sheet import MAX_TILES, Tile, evenly, reduced
from gateway.dicom.reading.instances import Instance, read_instance
from gateway.dicom.reading.sop_classes import STEMS, file_names
from gateway.errors import StudyRefused

CAPTURE = re.compile(rf"({STEMS})_\d+(_frame\d+)?\.png")


def objects(answer: dict[str, Any], buffers: Sequence[Any]) -> dict[int, tuple[str, Any]]:
    """The DICOM parts by their index: the name under which each is kept, and its bytes."""
    kinds = {index: part["binary_type"] for index, part in enumerate(answer.get("parts", []))}
    chosen = [index for index, kind in kinds.items() if kind.startswith("dicom")]
    names = file_names((kinds[index], buffers[index]) for index in chosen)
    return {index: (name, buffers[index]) for index, name in zip(chosen, names, strict=True)}


def pictured(out: Path, objects: Mapping[str, Any]) -> Iterator[tuple[Path, Tile]]:
    """DICOM parts as pictures; those without an image that can be shown, such as a report, are passed over.

    Of an object with many frames as many are shown, evenly, as leave half of the sheet to the study.
    """
    for earlier in out.iterdir():  # would be taken for a part of this answer
        if CAPTURE.fullmatch(earlier.name):
            earlier.unlink()
    for name, data in objects.items():
        try:
            one = read_instance(io.BytesIO(data))
            for frame in evenly(range(one.frames), max(1, MAX_TILES // 2 // len(objects))):
                yield _captured(out, name, one, data, frame)
        except StudyRefused:
            continue


def _captured(out: Path, name: str, one: Instance, data: Any, frame: int) -> tuple[Path, Tile]:
    several = one.frames > 1
    pixels = decode(io.BytesIO(data), frame if several else None)
    picture = render.Canvas(to_rgb(one.header, pixels, frame)).picture
    path = out / f"{name}{f'_frame{frame}' if several else ''}.png"
    picture.save(path)
    return path, Tile(reduced(picture), 1.0, path.stem.replace("_frame", ", frame "), True)
