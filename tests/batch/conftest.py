"""Archives of small studies."""

from pathlib import Path

import pytest

from gateway.dicom.samples import phantom


def write_study(folder: Path, name: str, *, slices: int = 3, size: int = 16) -> str:
    """Write a phantom as a study of its own; return its Study Instance UID."""
    phantom.write(folder, slices=slices, size=size, study=name)
    return str(next(phantom.datasets(slices=slices, size=size, study=name)).StudyInstanceUID)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three studies in folders of their own below ``archive``."""
    for name in ("a", "b", "c"):
        write_study(tmp_path / "archive" / name, name)
    return tmp_path / "archive"
