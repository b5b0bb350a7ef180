"""The outcome of each file of pydicom's package at each way into the gateway, and the outcomes that are expected.

``outcomes.json`` has a row for each file: the kind of its outcome, whose terms stand at the top. A folder is sent as
one series.
"""

import importlib.util
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from gateway.dicom.reading.files import NotAnInstance
from gateway.dicom.reading.instances import read_instance
from gateway.dicom.volumes.images import image, volume
from gateway.errors import GatewayError
from tests.apps.corpus import low_bytes
from tests.binding.asking import Answer
from tests.dicom.corpus import second_decoder

PACKAGE = Path(pydicom.__file__).parent / "data"
TABLE = Path(__file__).with_suffix(".json")
DOORS = [(route, form) for route in ("/images", "/volume") for form in ("json", "dicom")]
EQUAL = "equal"
"""The same header as pydicom's, or the same pixels as those of the second decoder, to the last bit. Decoders of lossy
codestreams could differ by 1, since no standard fixes their rounding; those of these files do not."""

Array = NDArray[Any]
Outcome = dict[str, str]
Post = Callable[[str, list[bytes], str], Answer]
"""Asks a route for files and the form of the answer."""


def files() -> list[Path]:
    """All files that pydicom's wheel contains but its code, and the folders that hold one series each."""
    found = [each for each in PACKAGE.rglob("*") if each.is_file() and each.suffix not in (".py", ".pyc")]
    return sorted([*found, *(PACKAGE / name for name in expected_kinds() if (PACKAGE / name).is_dir())])


def further_files() -> list[Path]:
    """The DICOM files of the package ``pydicom-data``, where it is installed."""
    found = importlib.util.find_spec("data_store")
    folders = list(found.submodule_search_locations or ()) if found else []
    return sorted(each for folder in folders for each in Path(folder).rglob("*.dcm"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name


def expected_kinds() -> dict[str, str]:
    """The kind of outcome of each file."""
    found: dict[str, str] = json.loads(TABLE.read_text(encoding="utf-8"))["files"]
    return found


def expected(path: Path) -> Outcome:
    terms: dict[str, Outcome] = json.loads(TABLE.read_text(encoding="utf-8"))["kinds"]
    return terms[expected_kinds()[name_of(path)]]


class Trial:
    """A file, or the files of a folder, and what the gateway made of them."""

    def __init__(self, path: Path, post: Post) -> None:
        self.paths = sorted(path.iterdir()) if path.is_dir() else [path]
        self.problems: list[dict[str, Any]] = []
        self._post = post

    def outcome(self) -> Outcome:
        """What comes of header, images and volume, and of each model in each form of its answer."""
        found = {
            "headers": _outcome(self._headers),
            "image": _outcome(self._pixels),
            "volume": _outcome(lambda: _same(list(self._volume()), lambda: self._in_space)),
        }
        return found | {f"{route} {form}": self.answered(route, form) for route, form in DOORS}

    def answered(self, route: str, form: str) -> str:
        """The status of an answer, and the code of a problem, or whether its pixels are equal."""
        answer = self._post(route, [path.read_bytes() for path in self.paths], form)
        if answer.status != 200:
            self.problems.append(answer.json)
            return f"{answer.status} {answer.json['type'].rpartition(':')[2]}"
        sorts = len(self.paths) > 1 or route == "/volume"
        return (
            f"200 {_same(list(_heatmaps(answer)), lambda: map(_low_bytes, self._in_space if sorts else self._frames))}"
        )

    def _headers(self) -> str:
        for path in self.paths:
            header, stated = read_instance(path).header, dcmread(path, stop_before_pixels=True)
            if header != stated or header.file_meta != stated.file_meta:
                return "differs"
        return EQUAL

    def _pixels(self) -> str:
        frames = [(one, frame) for one in map(read_instance, self.paths) for frame in range(one.frames)]
        if not frames:
            return "no image"
        return _same([image(*frame).stored for frame in frames], lambda: self._frames)

    def _volume(self) -> Array:
        stored: Array = volume([read_instance(path) for path in self.paths]).stored
        return stored

    @cached_property
    def _frames(self) -> list[Array]:
        """The frames by the second decoder, decoded when they are needed: there are files that it cannot read."""
        return [frame for path in self.paths for frame in second_decoder.decode(path)]

    @property
    def _in_space(self) -> list[Array]:
        """The frames along the normal of their planes (PS3.3 C.7.6.2.1.1)."""
        heights = [height for path in self.paths for height in _heights(path)]
        return [self._frames[index] for index in np.argsort(heights, kind="stable")]


def _heights(path: Path) -> list[float]:
    """How far each frame of a file lies along the normal, in mm."""
    header = dcmread(path, stop_before_pixels=True)
    groups = header.get("PerFrameFunctionalGroupsSequence") or [header]
    shared = [*header.get("SharedFunctionalGroupsSequence", ()), header]
    return [_height([group, *shared]) for group in groups]


def _height(places: Sequence[Dataset]) -> float:
    orientation = _first(places, "PlaneOrientationSequence", "ImageOrientationPatient")
    row, column = np.reshape(orientation, (2, 3)).astype(float)
    return float(
        np.cross(row, column) @ np.asarray(_first(places, "PlanePositionSequence", "ImagePositionPatient"), float)
    )


def _first(places: Sequence[Dataset], macro: str, keyword: str) -> Any:
    """The value of the first functional group, or header, that has the attribute."""
    found = [group for place in places for group in (place, *place.get(macro, ())) if keyword in group]
    return found[0][keyword].value


def _outcome(look: Callable[[], str]) -> str:
    try:
        return look()
    except NotAnInstance:
        return "no instance"
    except GatewayError as error:
        return error.code


def _same(found: Sequence[Array], decode: Callable[[], Iterable[Array]]) -> str:
    try:
        frames = list(decode())
    except (second_decoder.Unreadable, AttributeError):  # the latter for pixels that pydicom does not find
        return "not compared"
    if [(one.shape, one.dtype) for one in found] != [(one.shape, one.dtype) for one in frames]:
        return "differs in shape or dtype"
    apart = max(int(np.abs(one.astype(np.int64) - two).max()) for one, two in zip(found, frames, strict=True))
    return f"differs by {apart}" if apart else EQUAL


def _low_bytes(frame: Array) -> Array:
    return low_bytes(frame, frame.shape[:2])


def _heatmaps(answer: Answer) -> Iterator[Array]:
    """(row, column) uint8 of each plane of the heatmaps in an answer of protocol 1.0, or of DICOM objects."""
    for index, part in enumerate(answer.parts):
        is_dicom = part[128:132] == b"DICM"
        values = dcmread(io.BytesIO(part)).pixel_array if is_dicom else answer.mask(index)
        yield from values.reshape(-1, *values.shape[-2:]).astype(np.uint8)
