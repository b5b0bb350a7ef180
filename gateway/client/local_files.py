"""The files of a local study, before any is hashed: those on disk, and those in memory."""

from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from pathlib import Path

from gateway.client.errors import SourceUnreadable
from gateway.client.unreadable import Unreadable, named
from gateway.client.upload_body import Source
from gateway.dicom.reading.holes import File

Files = str | Path | Iterable[Source]
"""A local study: a file, a folder of them, or files by path, as bytes or open."""


class LocalFiles:
    """The sources of a study: files that a cache can hold, ``special`` files, and those in memory by name."""

    def __init__(self, files: Files) -> None:
        self.special: list[File] = []
        self.unlisted: list[Path] = []
        self._roots: dict[Path, Path] = {}
        given = [Path(files)] if isinstance(files, str | Path) else list(files)
        self.paths = absolute(path for one in given if isinstance(one, Path) for path in self._below(one))
        self.held: list[tuple[str, Source]] = [
            (f"File {n}", one) for n, one in enumerate(given, 1) if not isinstance(one, Path)
        ]

    def name(self, path: Path) -> str:
        """Return the name of a file: its path below the folder of the study."""
        return named(self._roots[path], path)

    def leave_out(self, paths: Collection[Path]) -> None:
        """Leave these files out."""
        self.paths = {key: path for key, path in self.paths.items() if path not in paths}
        self.special = [file for file in self.special if file.path not in paths]

    def read_images(self) -> tuple[list[Path], list[Unreadable]]:
        """Put the PNG and JPEG images among those in memory, as one series; return them, and those that are broken."""
        from gateway.client.image_files import captured, in_natural_order, is_image_file  # brings Pillow and pydicom

        images = [path for path in self.paths.values() if is_image_file(path)]
        by_root = groupby(images, self._roots.__getitem__)
        ordered = [path for _, below in by_root for path in in_natural_order(below)]
        captures, broken = captured([(self.name(path), path) for path in ordered])
        self.held += [(capture.name, capture) for capture in captures]
        return images, broken

    def _below(self, root: Path) -> Iterator[Path]:
        from gateway.dicom.reading.files import find_files  # brings pydicom

        if not root.exists():
            raise SourceUnreadable(f"{root} does not exist.")
        if not (root.is_dir() or root.is_file()):  # a pipe would wait for ever, a device has no end
            raise SourceUnreadable(f"{root} is neither a file nor a folder.")
        for path in find_files(root, lambda path, why: self._set_aside(root, path)):
            self._roots[path] = root
            yield path

    def _set_aside(self, root: Path, path: Path) -> None:
        self._roots[path] = root
        if path.is_dir():
            self.unlisted.append(path)
        else:
            self.special.append(File(path, 0, None))


def absolute(paths: Iterable[Path]) -> dict[str, Path]:
    """Return files by their keys in the cache."""
    return {str(path.absolute()): path for path in paths}
