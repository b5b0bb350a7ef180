"""The questions that every door asks, with answers computed here by pydicom and numpy alone, and the faults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from gateway.dicom.samples import phantom

Masks = Mapping[str, NDArray[np.bool_]]
LIMITS = {"max_parts": 16, "max_study_files": 16, "max_body_bytes": 1 << 20}
"""Settings of every door, small enough for studies that exceed them."""


@dataclass(frozen=True)
class Question:
    """A request in words: ``study`` names one of ``studies``; ``code`` is that of the problem which answers it."""

    name: str
    route: str
    study: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    attachments: Sequence[bytes] = ()
    status: int = 200
    code: str = ""
    known: bool = True
    """False where the caller has no key."""


QUESTIONS = (
    Question("defaults", "/threshold", "phantom"),
    Question(
        "parameters", "/threshold", "phantom", {"threshold": -200.5, "label": "größer \"; 'als", "inverted": True}
    ),
    Question("one instance", "/threshold", "one", {"threshold": 100}),
    Question("compressed", "/threshold", "compressed", {"threshold": 300}),
    Question("series of a scanner", "/threshold", "scanner", {"threshold": 40}),
    Question("WASM function", "/otsu", "one"),
    Question("attachment", "/attached", "phantom", attachments=[b"150"]),
    Question("attachment alone", "/text", parameters={"times": 2}, attachments=["Übergröße\r\n--x".encode()]),
    Question("plain function", "/plain", "phantom", {"level": 7}),
)
FAULTS = (
    Question("out of bounds", "/threshold", "phantom", {"threshold": 9e9}, status=422, code="parameter-refused"),
    Question("not a number", "/threshold", "one", {"threshold": "high"}, status=422, code="parameter-refused"),
    Question("wrong modality", "/mr", "one", status=422, code="study-refused"),
    Question("not DICOM", "/threshold", "text", {"threshold": 1}, status=422, code="study-refused"),
    Question("too many files", "/threshold", "many", status=413, code="limit-exceeded"),
    Question("too many bytes", "/threshold", "large", status=413, code="limit-exceeded"),
    Question("raises", "/raises", "one", status=500, code="model-failed"),
    Question("deadline", "/endless", "one", status=504, code="deadline-exceeded"),
    Question("without a key", "/threshold", "one", status=401, code="unauthenticated", known=False),
)


def studies(folder: Path) -> dict[str, list[Path]]:
    """Write the studies; return their files by name, out of spatial order."""
    text = folder / "note.txt"
    text.write_text("no DICOM")
    found = {
        "": [],
        "phantom": _cropped(folder / "phantom", 6, 24, 32),
        "one": _cropped(folder / "one", 1, 20, 32),
        "many": _cropped(folder / "many", LIMITS["max_parts"] + 1, 4, 4),
        "large": _cropped(folder / "large", 6, 300, 300),
        "compressed": [Path(get_testdata_file("693_J2KI.dcm"))],
        "scanner": sorted(Path(get_testdata_file("dicomdirtests/98892001/CT5N/2392")).parent.iterdir()),
        "text": [text],
    }
    return {name: files[::-1] for name, files in found.items()}


def _cropped(folder: Path, slices: int, rows: int, columns: int) -> list[Path]:
    """A study of its own, with slices that are not square."""
    files = phantom.write(folder, slices=slices, size=columns)
    study, series = generate_uid(), generate_uid()
    for path in files:
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.PixelData = dataset.pixel_array[:rows].tobytes()
        dataset.Rows = rows
        dataset.save_as(path)
    return files


def in_space(files: Sequence[Path]) -> list[pydicom.Dataset]:
    """The images along the normal of their planes (PS3.3 C.7.6.2.1.1)."""
    datasets = [pydicom.dcmread(path) for path in files]
    row, column = np.reshape(datasets[0].ImageOrientationPatient, (2, 3)).astype(float)
    return sorted(datasets, key=lambda one: float(np.cross(row, column) @ np.asarray(one.ImagePositionPatient, float)))


def values(files: Sequence[Path]) -> NDArray[np.float64]:
    """(slice, row, column): the values of a study after the rescale (PS3.3 C.11.1)."""
    return np.stack(
        [
            one.pixel_array * float(one.get("RescaleSlope", 1)) + float(one.get("RescaleIntercept", 0))
            for one in in_space(files)
        ]
    )


def expected(question: Question, files: Sequence[Path]) -> tuple[Masks, dict[str, Any]]:
    """The masks and the labels that answer a question."""
    asked = question.parameters
    if question.route == "/plain":
        return {}, {"sizes": sorted(path.stat().st_size for path in files), "level": asked["level"]}
    if question.route == "/text":
        return {}, {"text": question.attachments[0].decode() * asked["times"]}
    array = values(files)
    if question.route == "/otsu":
        return {"otsu_mask": array > otsu(array)}, {}
    if question.route == "/attached":
        return {"attached": array > float(question.attachments[0])}, {}
    level = asked.get("threshold", 200)
    found = array <= level if asked.get("inverted") else array > level
    tissues = {"soft": (array > 0) != (array > level), "hard": (array > 0) & (array > level)}
    return {asked.get("label", "dense"): found, **tissues}, {"voxels": int(found.sum()), "threshold": level}


def otsu(array: NDArray[np.float64]) -> float:
    """The value with the largest variance between what is above it and the rest (Otsu 1979)."""

    def variance(level: float) -> float:
        above = array > level
        return float(above.mean() * (1 - above.mean()) * (array[above].mean() - array[~above].mean()) ** 2)

    return max(np.unique(array)[:-1], key=variance)
