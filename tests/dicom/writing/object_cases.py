"""Volumes, images and findings of every kind, for the tests of DICOM objects."""

import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import Dataset, dcmread

from gateway import (
    BoundingBox,
    Classification,
    Conformance,
    Finding,
    Heatmap,
    Image,
    Label,
    LabelMask,
    LinearMeasurement,
    Mask,
    ProbabilityMask,
    SecondaryCapture,
    StructuredReport,
    Volume,
    codes,
)
from gateway.contract.requests import Provenance
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.reading.instances import read_instance
from gateway.dicom.samples import phantom
from gateway.dicom.volumes.study import image, study
from gateway.dicom.writing.objects import objects
from tests.dicom.volumes.volume_series import multi_frame, parts, series

FILES = Path(pydicom.__file__).parent / "data" / "test_files"

PROVENANCE = Provenance(
    model_name="Lung nodules",
    model_version="1.2.0",
    input_digest="a" * 64,
    parameters_digest="b" * 64,
    received=datetime(2026, 3, 4, 5, 6, 7, 890, tzinfo=UTC),
    model_digest="c" * 64,
    gateway_version="0.1.0",
)
LATER = replace(PROVENANCE, received=PROVENANCE.received + timedelta(days=1))


def classic(size: int = 16, slices: int = 5) -> Volume:
    """A series of one image a slice."""
    return study(parts(phantom.datasets(slices=slices, size=size))).series[0].volume()


def enhanced() -> Volume:
    """One image of many frames, from head to feet."""
    return study(parts([multi_frame(series(5)[::-1])])).series[0].volume()


def single() -> Volume:
    """A volume of one slice."""
    return study(parts(series(1))).series[0].volume()


VOLUMES = {"classic": classic, "enhanced": enhanced, "single": single, "odd": lambda: classic(size=9)}
"""The last has planes of 81 pixels, whose bits end within a byte."""


def file_image(name: str) -> Image:
    """The last frame of one of pydicom's files."""
    instance = read_instance(FILES / name)
    return image(instance, instance.frames - 1)


def region(of: Volume | Image, seed: int = 1) -> np.ndarray:
    """bool, of any shape, its first plane empty where there are several."""
    voxels = np.random.default_rng(seed).random(of.shape) < 0.3
    if voxels.ndim == 3 and len(voxels) > 1:
        voxels[0] = False
    return voxels


def masks(of: Any) -> list[Finding]:
    """Segments of every kind, one of them empty, two that overlap."""
    voxels = region(of)
    return [
        Mask(voxels, "Lung", of, codes.SCT.Lung),
        Mask(np.zeros(of.shape, bool), "Nodule", of),
        LabelMask(voxels.astype(np.uint8) * 2, {1: "Lobe", 2: Label("Liver", codes.SCT.Liver)}, of=of),
        ProbabilityMask(np.where(voxels, 0.4, 0).astype(np.float32), "Rippe ü", of),
    ]


def every_kind(of: Any) -> list[Finding]:
    """All findings that a model may return for a volume or an image; ``of`` of the marks is its slice 0."""
    voxels = region(of)
    return [
        *masks(of),
        Heatmap(voxels * np.float32(0.3), "Heat", of),
        Heatmap(voxels.astype(np.uint8) * 77, "Heat", of),
        BoundingBox("Nodule", (0, 1), (2, 2), slice=0, of=of, code=codes.SCT.Nodule),
        LinearMeasurement("Diameter", (0, 0), (2, 2), slice=0, of=of),
        LinearMeasurement("Way", (1.0, 2.0, 3.0), (1.0, 2.0, 7.5)),
        Classification({"emphysema": True, "grade": "II°", "risk": 0.25}),
        Classification({"slices": 3}, of=of),
        SecondaryCapture(np.zeros((4, 5, 3), np.uint8), "Colour"),
        SecondaryCapture(np.zeros((3, 5), np.uint8), "Grey"),
        StructuredReport([("Volume", 12.5, "ml"), ("Count", 2, "1")]),
        Conformance("Thin slices", True),
    ]


def made(findings: Sequence[Finding], of: Any, provenance: Provenance = PROVENANCE) -> list[Dataset]:
    """The objects as they were sent: written and read again."""
    return [dcmread(io.BytesIO(each)) for each in written(findings, of, provenance)]


def written(findings: Sequence[Finding], of: Any, provenance: Provenance = PROVENANCE) -> list[bytes]:
    return [convert_dataset_to_bytes(each) for each in objects(findings, source=of.instances, provenance=provenance)]
