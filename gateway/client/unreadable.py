"""Unreadable files that look like a part of a study: refused by name, or left out on request."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.client.errors import SourceUnreadable, counted, printable
from gateway.contract.brief import Brief
from gateway.dicom.reading.holes import Hole, listed


@dataclass(frozen=True, repr=False)
class Unreadable(Brief):
    """An unreadable file. ``file`` is its path below the folder of the study; ``reason`` is a sentence."""

    _shown = frozenset({"reason"})

    file: str
    reason: str

    @property
    def words(self) -> dict[str, str]:
        """Return the entry for a script."""
        return {"file": self.file, "reason": self.reason}


class StudyUnreadable(SourceUnreadable):
    """Parts of a study that cannot be read; ``files`` lists them all."""

    def __init__(self, files: Sequence[Unreadable]) -> None:
        parts = f"{counted(len(files), 'file')} that look{'s' if len(files) == 1 else ''} like a part of the study"
        way_out = "Repair or remove them, or set skip_unreadable to leave them out."
        super().__init__(f"{parts} cannot be read. {way_out} {listed([f'{one.file}: {one.reason}' for one in files])}")
        self.files = tuple(files)


class Skipping:
    """The rule for unreadable parts of a study: may they be left out? ``files`` lists those that were."""

    def __init__(self, allowed: bool = False) -> None:
        self._allowed = allowed
        self._files: list[Unreadable] = []

    @property
    def files(self) -> tuple[Unreadable, ...]:
        """The files left out, in the order in which they were found."""
        return tuple(self._files)

    def skip(self, files: Sequence[Unreadable]) -> None:
        """Leave these files out. Raises StudyUnreadable unless that is allowed."""
        if files and not self._allowed:
            raise StudyUnreadable(files)
        self._files += files


def below(folder: Path, holes: Sequence[Hole]) -> list[Unreadable]:
    """Return holes by their paths below ``folder``."""
    return [Unreadable(named(folder, hole.path), hole.why) for hole in holes]


def named(folder: Path, path: Path) -> str:
    """Return a file's path below ``folder``, or its name where it is ``folder`` itself."""
    return printable(path.name if path == folder else path.relative_to(folder).as_posix())
