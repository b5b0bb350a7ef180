"""Files of a study, read as instances to send, in the order in which a model expects them."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from gateway.client.errors import SourceUnreadable, counted, printable
from gateway.client.image_files import captured, in_natural_order, is_image_file
from gateway.client.unreadable import Skipping, Unreadable, below, named
from gateway.client.upload_body import Source
from gateway.dicom.reading.files import NotAnInstance
from gateway.dicom.reading.holes import Hole
from gateway.dicom.reading.instances import Instance, read_instance, read_study, spatial_order
from gateway.dicom.volumes.nifti_volumes import is_nifti_file, nifti_instance
from gateway.errors import StudyRefused

ARCHIVES = {".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz"}
"""Extensions of archives, which are not unpacked: one may be larger than the disk."""


def load(path: Path, skipping: Skipping, note: Callable[[str], None] = lambda line: None) -> list[Instance]:
    """Return the DICOM instances at or below ``path``, or where there are none those that stand for NIfTI files, or the
    PNG and JPEG images as one series.

    One series after another, each sorted along its normal with time points outermost. ``note`` receives the number of
    other files. Raises SourceUnreadable for a missing path, StudyUnreadable for a part of the study
    that cannot be read and that ``skipping`` does not allow to leave out, StudyRefused where there is nothing to send.
    """
    if not path.exists():
        raise SourceUnreadable(f"{path} does not exist.")
    study = _Reading()
    study.add_folder(path)
    instances = study.finish(skipping)
    if not instances:
        none = "no DICOM file, no NIfTI file and no PNG or JPEG image"
        raise StudyRefused(f"There is {none} in {path}.{_hint(path, study.others)}")
    if study.apart:
        note(f"left out {counted(study.apart, 'image')} beside the DICOM files: send images from a folder of their own")
    if others := len(study.others):
        note(f"left out {counted(others, 'file')} that {'is' if others == 1 else 'are'} neither DICOM nor an image")
    return instances


def spatial(files: Iterable[Source], skipping: Skipping) -> list[Instance]:
    """Return the instances of files by path, as bytes or open, and of folders, in the order that a model expects.

    Each file that is named counts as a part of the study; PNG and JPEG files are one series in the order given.
    Raises StudyUnreadable, StudyRefused where there is nothing, or DICOM and images.
    """
    study = _Reading()
    for place, source in enumerate(files, start=1):
        if isinstance(source, Path) and source.is_dir():
            study.add_folder(source)
        else:
            study.add_file(source, place)
    instances = study.finish(skipping)
    if not instances:
        raise StudyRefused("There is no DICOM file, no NIfTI file and no PNG or JPEG image here.")
    return instances


def _hint(path: Path, others: Iterable[Path]) -> str:
    if path.name == "DICOMDIR":
        return " A DICOMDIR is an index: name its folder instead."
    return " Unpack its archive first." if any(file.suffix.lower() in ARCHIVES for file in others) else ""


def _is_nifti(path: Path) -> bool:
    with suppress(StudyRefused):  # it cannot be opened
        return is_nifti_file(path)
    return False


class _Reading:
    """The instances of a study; ``apart`` counts image files beside DICOM files, ``others`` are neither."""

    def __init__(self) -> None:
        self.apart, self.others = 0, list[Path]()
        self._instances, self._unreadable = list[Instance](), list[Unreadable]()
        self._images = list[tuple[str, Path]]()
        self._nifti = list[Path | BinaryIO]()
        self._chosen = False

    def add_folder(self, path: Path) -> None:
        """Add what is at or below ``path``."""
        skipped, holes = list[Path](), list[Hole]()
        self._instances += read_study(path, on_skip=lambda file, why: skipped.append(file), on_holes=holes.extend)
        self._unreadable += below(path, holes)
        images = in_natural_order(filter(is_image_file, skipped))
        self._images += [(named(path, image), image) for image in images]
        nifti = [file for file in skipped if _is_nifti(file)]
        self._nifti += nifti
        self.others += [file for file in skipped if file not in images and file not in nifti]

    def add_file(self, source: Source, place: int) -> None:
        """Add a file that is named, ``place`` counting from 1."""
        name = printable(source.name) if isinstance(source, Path) else f"File {place}"
        file = BytesIO(source) if isinstance(source, bytes) else source
        try:
            self._instances.append(read_instance(file))
        except NotAnInstance as error:
            if is_nifti_file(file):
                self._nifti.append(file)
                self._chosen = True
            elif isinstance(source, Path) and is_image_file(source):
                self._images.append((name, source))
                self._chosen = True
            else:
                self._unreadable.append(Unreadable(name, error.detail))
        except StudyRefused as error:
            self._unreadable.append(Unreadable(name, error.detail))

    def finish(self, skipping: Skipping) -> list[Instance]:
        """Return the instances in order: DICOM, or NIfTI or images where no file is or should be DICOM."""
        if not (self._instances or self._unreadable):
            self._instances = self._without_dicom()
        elif self._chosen:
            raise StudyRefused("DICOM files, and NIfTI, PNG or JPEG files are not one study: send them apart.")
        else:
            self.apart = len(self._images) + len(self._nifti)
        skipping.skip(self._unreadable)
        return spatial_order(self._instances)

    def _without_dicom(self) -> list[Instance]:
        if self._nifti and self._images:
            raise StudyRefused("NIfTI files, and PNG or JPEG files are not one study: send them apart.")
        captures, self._unreadable = captured(self._images)
        return [nifti_instance(file) for file in self._nifti] or [read_instance(capture) for capture in captures]
