"""From files to the instances to send, in the order in which a model expects them."""

from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path

from gateway.client.errors import SourceUnreadable, counted
from gateway.client.scanning import named, refuse_unlisted
from gateway.client.upload import Source
from gateway.dicom.reading.capture import image_to_secondary_capture
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.reading.instances import Instance, read_instance, read_study, spatial_order
from gateway.dicom.reading.receipt import split
from gateway.errors import StudyRefused

PICTURES = {".png", ".jpg", ".jpeg"}


def load(path: Path, note: Callable[[str], None] = lambda line: None) -> list[Instance]:
    """The DICOM instances at or below ``path``, and its PNG and JPEG images as Secondary Captures in memory.

    One series after another, each sorted along its normal with time points outermost. ``note`` hears how many other
    files are left out. Raises SourceUnreadable for a path that is not there or a folder that cannot be listed,
    StudyRefused where there is nothing to send, or where a DICOM file is broken.
    """
    if not path.exists():
        raise SourceUnreadable(f"{path} is not there.")
    instances, skipped = _read(path)
    pictures = [file for file in skipped if file.suffix.lower() in PICTURES and file.is_file()]
    instances += [_captured(picture) for picture in pictures]
    if not instances:
        index = " A DICOMDIR is but an index: give the folder that it lies in." if path.name == "DICOMDIR" else ""
        raise StudyRefused(f"There is no DICOM file and no PNG or JPEG image in {path}.{index}")
    if others := len(skipped) - len(pictures):
        note(f"left out {counted(others, 'file')} that {'is' if others == 1 else 'are'} neither DICOM nor an image")
    return spatial_order(instances)


def _read(path: Path) -> tuple[list[Instance], list[Path]]:
    """The instances at or below ``path``, and the files that are none."""
    skipped = list[Path]()

    def skip(file: Path, why: str) -> None:
        refuse_unlisted(file, why)
        skipped.append(file)

    return read_study(path, on_skip=skip, within=named), skipped


def spatial(files: Iterable[Source]) -> list[Instance]:
    """DICOM files by path, as bytes or open, in the same order. Raises StudyRefused for one that is no instance."""
    given = [BytesIO(file) if isinstance(file, bytes) else file for file in files]
    instances, others = split(given)
    if others or not instances:
        raise StudyRefused(f"{len(others)} of the {len(given)} files are no DICOM instances.")
    return spatial_order(instances)


class _Capture(BytesIO):
    """A Secondary Capture in memory that knows the picture it was made of."""

    def __init__(self, picture: Path) -> None:
        super().__init__(convert_dataset_to_bytes(image_to_secondary_capture(picture)))
        self.name = picture.name


def _captured(picture: Path) -> Instance:
    return read_instance(_Capture(picture))
