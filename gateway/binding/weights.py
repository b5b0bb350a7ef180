"""A model's files: hashed once when it is loaded, so that every answer can say which weights made it."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gateway.errors import ModelFailed

CHANGED = "A weights file of this model has changed since it was loaded; the service must be started again."


@dataclass(frozen=True)
class Weights:
    """Files by path: sha256 in hexadecimal, and (size in bytes, mtime in ns) when it was taken."""

    digests: Mapping[Path, str]
    stamps: Mapping[Path, tuple[int, int]]

    @classmethod
    def load(cls, paths: Iterable[str | Path] | Mapping[str | Path, str]) -> Self:
        """Hash each file; of a mapping the values are the sha256 they must have. Raises ModelFailed, OSError."""
        named = expected_digests(paths)
        stamps = {path: _stamp(path) for path in named}
        digests = {path: _sha256(path) for path in named}
        for path, expected in named.items():
            if expected and expected.lower() != digests[path]:
                raise ModelFailed(
                    f"The weights file {path.name} of this model has sha256 {digests[path][:12]}, and "
                    f"{expected[:12].lower()} is declared; put the declared file there."
                )
        return cls(digests, stamps)

    @property
    def digest(self) -> str:
        """sha256 over the digests of all files, whatever their names; "" where there is none."""
        joined = "".join(sorted(self.digests.values()))
        return hashlib.sha256(joined.encode()).hexdigest() if joined else ""

    def check(self) -> None:
        """Raise ModelFailed when a file is not what it was."""
        try:
            now = {path: _stamp(path) for path in self.stamps}
        except OSError:
            raise ModelFailed(CHANGED) from None
        if now != self.stamps:
            raise ModelFailed(CHANGED)


def expected_digests(paths: Iterable[str | Path] | Mapping[str | Path, str]) -> dict[Path, str]:
    """Return each file with the sha256 that a mapping declares for it; "" where any will do."""
    pairs = paths.items() if isinstance(paths, Mapping) else ((path, "") for path in paths)
    return {Path(path).absolute(): expected for path, expected in pairs}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
