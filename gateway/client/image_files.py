"""PNG and JPEG files as a study: the files that are named together are one series of Secondary Captures in memory."""

import re
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from gateway.client.unreadable import Unreadable
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.reading.holes import is_aside
from gateway.dicom.writing.image_capture import image_to_secondary_capture, join_series
from gateway.errors import StudyRefused

SUFFIXES = {".png", ".jpg", ".jpeg"}


class Capture(BytesIO):
    """A Secondary Capture in memory with the name of its image file; ``dataset`` is of pydicom."""

    def __init__(self, dataset: Any, name: str) -> None:
        super().__init__(convert_dataset_to_bytes(dataset))
        self.name = name


def is_image_file(path: Path) -> bool:
    """Return True for a file with the extension of an image."""
    return path.suffix.lower() in SUFFIXES and not is_aside(path)


def in_natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sort files of one folder by their names, numbers by value: ``2.png`` stands before ``10.png``."""
    return sorted(paths, key=lambda path: ([_natural(name) for name in path.parts], path.parts))


def _natural(name: str) -> list[tuple[str, int]]:
    return [(text, int(digits or 0)) for digits, text in re.findall(r"([0-9]+)|([^0-9]+)", name.casefold())]


def captured(files: Sequence[tuple[str, Path]]) -> tuple[list[Capture], list[Unreadable]]:
    """Return image files by name and path as one series in the order given, and those that cannot be read.

    Raises LimitExceeded.
    """
    captures, unreadable = list[tuple[str, Any]](), list[Unreadable]()
    for name, path in files:
        try:
            captures.append((path.name, image_to_secondary_capture(path)))
        except StudyRefused as error:
            unreadable.append(Unreadable(name, error.detail))
    join_series([dataset for _, dataset in captures])
    return [Capture(dataset, name) for name, dataset in captures], unreadable
