"""Files of a study, read as instances to send, in the order in which a model expects them."""

from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path

from gateway.client.errors import SourceUnreadable, counted, printable
from gateway.client.unreadable import Skipping, Unreadable, below, named
from gateway.client.upload_body import Source
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.reading.holes import Hole, is_aside
from gateway.dicom.reading.instances import Instance, read_instance, read_study, spatial_order
from gateway.dicom.writing.image_capture import image_to_secondary_capture
from gateway.errors import StudyRefused

PICTURES = {".png", ".jpg", ".jpeg"}


def load(path: Path, skipping: Skipping, note: Callable[[str], None] = lambda line: None) -> list[Instance]:
    """Return the DICOM instances at or below ``path``, and its PNG and JPEG images as Secondary Captures in memory.

    One series after another, each sorted along its normal with time points outermost. ``note`` receives the number of
    other files. Raises SourceUnreadable for a missing path, StudyUnreadable for a part of the study
    that cannot be read and that ``skipping`` does not allow to leave out, StudyRefused where there is nothing to send.
    """
    if not path.exists():
        raise SourceUnreadable(f"{path} does not exist.")
    instances, unreadable, others = _read(path)
    skipping.skip(unreadable)
    if not instances:
        index = " A DICOMDIR is an index: name its folder instead." if path.name == "DICOMDIR" else ""
        raise StudyRefused(f"There is no DICOM file and no PNG or JPEG image in {path}.{index}")
    if others:
        note(f"left out {counted(others, 'file')} that {'is' if others == 1 else 'are'} neither DICOM nor an image")
    return spatial_order(instances)


def _read(path: Path) -> tuple[list[Instance], list[Unreadable], int]:
    """Read ``path``: instances, parts of the study that cannot be read, and the number of other files."""
    skipped, holes = list[Path](), list[Hole]()
    instances = read_study(path, on_skip=lambda file, why: skipped.append(file), on_holes=holes.extend)
    unreadable, pictures = below(path, holes), [file for file in skipped if _is_picture(file)]
    for picture in pictures:
        try:
            instances.append(_captured(picture))
        except StudyRefused as error:
            unreadable.append(Unreadable(named(path, picture), error.detail))
    return instances, unreadable, len(skipped) - len(pictures)


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in PICTURES and not is_aside(file)


def spatial(files: Iterable[Source], skipping: Skipping) -> list[Instance]:
    """DICOM files by path, as bytes or open, and those below folders, in the order in which a model expects them.

    Each file that is named counts as a part of the study. Raises StudyUnreadable, StudyRefused where there is nothing.
    """
    instances, unreadable = list[Instance](), list[Unreadable]()
    for place, one in enumerate(files, start=1):
        if isinstance(one, Path) and one.is_dir():
            found, broken, _ = _read(one)
            instances += found
            unreadable += broken
            continue
        try:
            instances.append(read_instance(BytesIO(one) if isinstance(one, bytes) else one))
        except StudyRefused as error:
            unreadable.append(Unreadable(_name(one, place), error.detail))
    skipping.skip(unreadable)
    if not instances:
        raise StudyRefused("There is no DICOM file here.")
    return spatial_order(instances)


def _name(source: Source, place: int) -> str:
    return printable(source.name) if isinstance(source, Path) else f"File {place}"


class _Capture(BytesIO):
    """A Secondary Capture in memory with the path of its picture."""

    def __init__(self, picture: Path) -> None:
        super().__init__(convert_dataset_to_bytes(image_to_secondary_capture(picture)))
        self.name = picture.name


def _captured(picture: Path) -> Instance:
    return read_instance(_Capture(picture))
