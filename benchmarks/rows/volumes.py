"""A study as a Volume, against the usual loop with pydicom alone; and headers without pixels."""

import copy
import os
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from benchmarks import pairs
from benchmarks.pairs import timed
from benchmarks.results import Line, Plan, at_most
from gateway.config import Settings
from gateway.dicom.decoding.pool import configure
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.samples import phantom
from gateway.dicom.volumes.study import study
from gateway.spool.parts import PartFile, Spool

STUDY = "BENCHMARK_STUDY"
"""Names a folder with one series to take for the first line, instead of a phantom of the same size."""
SLICES, SIZE = 28, 512
COMPRESSED_SLICES = 12
LARGE = 2048
HEADERS, HEADERS_SIZE = 300, 64
TAGS = [
    "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "InstanceNumber", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns", "NumberOfFrames",
]  # fmt: skip
"""The attributes of the geometry."""
THREADS = "OPJ_NUM_THREADS"

Values = NDArray[np.float32]


def volume(plan: Plan) -> list[Line]:
    """Load parts in memory as float32 in Hounsfield units, in spatial order: uncompressed, and in JPEG 2000."""
    folder = os.environ.get(STUDY)
    files = _read(Path(folder)) if folder else _phantom(SLICES, SIZE)
    compressed = list(map(_compressed, phantom.datasets(slices=COMPRESSED_SLICES, size=SIZE)))
    note = "all decoded by Pillow, as pydicom does where gdcm is not installed"
    return [
        _volume_line(0.5, f"{len(files)} slices to a volume", files, "", plan),
        _volume_line(0.7, f"{len(compressed)} slices of JPEG 2000 to a volume", compressed, "pillow", plan, note),
    ]


def headers(plan: Plan) -> list[Line]:
    """Read the geometry of parts without decoding their pixels, in explicit and in implicit VR."""
    files = {
        f"headers of {HEADERS} slices": _phantom(HEADERS, HEADERS_SIZE),
        f"headers of {HEADERS} slices in implicit VR": _phantom(HEADERS, HEADERS_SIZE, ImplicitVRLittleEndian),
    }
    return [_headers_line(work, _parts(each), plan) for work, each in files.items()]


def _headers_line(work: str, parts: list[PartFile], plan: Plan) -> Line:
    works = {
        "ours": timed(partial(_geometry, parts)),
        "dcmread(specific_tags)": timed(partial(_headers, parts)),
    }
    return at_most(1.2, work, pairs.alternate(_rounds(plan), works), "ours", "dcmread(specific_tags)")


def codecs(plan: Plan) -> list[Line]:
    """Decode compressed slices to a volume, with codecs in processes of their own and inside this one."""
    slices = list(phantom.datasets(slices=COMPRESSED_SLICES, size=SIZE))
    compressed = {
        f"{COMPRESSED_SLICES} slices of {syntax.name.split(' Loss')[0]} decoded in other processes": [
            _compressed(one, syntax) for one in map(copy.deepcopy, slices)
        ]
        for syntax in (JPEG2000Lossless, JPEGLSLossless, RLELossless)
    }
    large = list(map(_compressed, phantom.datasets(slices=1, size=LARGE)))
    compressed[f"1 image of {LARGE} x {LARGE} in JPEG 2000 decoded in another process"] = large
    return [_codec_line(work, files, plan) for work, files in compressed.items()]


def _codec_line(work: str, files: list[bytes], plan: Plan) -> Line:
    parts = _parts(files)
    outside, inside = Settings(), Settings(decode_processes=0)
    if not np.array_equal(_within(outside, parts), _within(inside, parts)):
        raise ValueError("the volume is not that which is decoded inside")
    works = {
        "ours": timed(partial(_within, outside, parts)),
        "inside": timed(partial(_within, inside, parts)),
    }
    return at_most(1.15, work, pairs.alternate(_rounds(plan), works), "ours", "inside")


def _within(settings: Settings, parts: list[PartFile]) -> Values:
    configure(settings)
    return _ours(parts)


def _volume_line(limit: float, work: str, files: list[bytes], plugin: str, plan: Plan, note: str = "") -> Line:
    parts = _parts(files)
    if not np.array_equal(_ours(parts), _plain(parts, plugin)):
        raise ValueError("the volume is not that of the plain loop")
    works = {"ours": timed(partial(_ours, parts)), "plain loop": timed(partial(_plain, parts, plugin))}
    return at_most(limit, work, pairs.alternate(_rounds(plan), works), "ours", "plain loop", note=note)


def _ours(parts: list[PartFile]) -> Values:
    return study(parts).series[0].volume().array


def _plain(parts: list[PartFile], plugin: str) -> Values:
    """Read, sort, stack and rescale with pydicom alone, in float32 and one thread."""
    os.environ.pop(THREADS, None)  # which decoding inside has set
    datasets = sorted(map(_dataset, parts), key=lambda dataset: float(dataset.ImagePositionPatient[2]))
    for dataset in datasets if plugin else []:
        dataset.pixel_array_options(decoding_plugin=plugin)
    return np.stack([_rescaled(dataset) for dataset in datasets])


def _rescaled(dataset: Dataset) -> Values:
    values = dataset.pixel_array.astype(np.float32)
    return values * np.float32(dataset.RescaleSlope) + np.float32(dataset.RescaleIntercept)


def _geometry(parts: list[PartFile]) -> object:
    return study(parts).series[0].volume().affine


def _headers(parts: list[PartFile]) -> object:
    return [_dataset(part, specific_tags=TAGS) for part in parts]


def _dataset(part: PartFile, specific_tags: list[str] | None = None) -> Dataset:
    part.seek(0)
    return dcmread(part, specific_tags=specific_tags)


def _rounds(plan: Plan) -> int:
    """The number of rounds, nine in the published table."""
    return 2 * plan.pairs - 1


def _read(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def _phantom(slices: int, size: int, syntax: UID = ExplicitVRLittleEndian) -> list[bytes]:
    datasets = list(phantom.datasets(slices=slices, size=size))
    for one in datasets:
        one.file_meta.TransferSyntaxUID = syntax
    return list(map(convert_dataset_to_bytes, datasets))


def _compressed(dataset: Dataset, syntax: UID = JPEG2000Lossless) -> bytes:
    dataset.compress(syntax, generate_instance_uid=False)
    return convert_dataset_to_bytes(dataset)


def _parts(files: list[bytes]) -> list[PartFile]:
    """Return the files as parts of a request in memory, in another order than that of their slices."""
    size = sum(map(len, files))
    spool = Spool(threshold=size, expected=size)
    for file in [*files[1::2], *files[::2]]:
        spool.write(file)
        spool.end_part()
    return spool.parts()
