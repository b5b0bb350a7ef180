"""Archives of small studies."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from gateway.dicom.samples import phantom

Archive = Callable[..., Path]


def write_study(folder: Path, name: str, *, slices: int = 3, size: int = 16) -> str:
    """Write a phantom as a study of its own; return its Study Instance UID."""
    folder.mkdir(parents=True, exist_ok=True)
    study, series = (generate_uid(entropy_srcs=[name, level]) for level in ("study", "series"))
    for number, dataset in enumerate(phantom.datasets(slices=slices, size=size)):
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[name, str(number)])
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return str(study)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three studies in folders of their own below ``archive``."""
    for name in ("a", "b", "c"):
        write_study(tmp_path / "archive" / name, name)
    return tmp_path / "archive"
