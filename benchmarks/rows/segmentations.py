"""A mask of 300 slices as a SEG, including the gateway's check of it, against highdicom with the same segments."""

import io
import logging
from collections.abc import Sequence
from copy import deepcopy
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import generate_uid

from benchmarks.pairs import alternate, timed
from benchmarks.results import Line, Plan, at_most
from gateway import Finding, LabelMask, Mask, Volume, codes
from gateway.contract.requests import Provenance
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.samples import phantom
from gateway.dicom.volumes.study import study
from gateway.dicom.writing.objects import objects

SIZE, SEGMENTS = 512, 5
FAST, OVERLAPPING = 1.15, 0.5
PROVENANCE = Provenance(
    model_name="benchmark",
    model_version="1",
    input_digest="0" * 64,
    parameters_digest="0" * 64,
    received=datetime(2026, 1, 1, tzinfo=UTC),
)


def segmentation(plan: Plan) -> list[Line]:
    """Measure one segment, five in a label array, and five that overlap; each pair is warmed up and alternates."""
    logging.getLogger("highdicom").setLevel(logging.ERROR)  # it tells of every module that it copies
    of, sources = _series(300 if plan.parts >= 256 else 24)
    place = np.indices(of.shape, dtype=np.int16, sparse=True)
    spheres = [_sphere(place, of.shape, offset) for offset in range(-40, 60, 20)]
    labels = _bands(of.shape)
    what = f"{of.shape[2]} x {of.shape[1]} x {of.shape[0]} mask to SEG"
    stacked = np.stack(spheres, axis=-1).view(np.uint8)
    names = {number: str(number) for number in range(1, SEGMENTS + 1)}
    overlapping = [Mask(each, str(number), of) for number, each in enumerate(spheres)]
    cases: list[tuple[str, float, list[Finding], Any, int]] = [
        ("one segment", FAST, [Mask(spheres[0], "1", of)], spheres[0], 1),
        ("five in a label array", FAST, [LabelMask(labels, names, of=of)], labels, SEGMENTS),
        ("five overlapping", OVERLAPPING, [*overlapping], stacked, SEGMENTS),
    ]
    lines = []
    for name, limit, findings, array, count in cases:
        works = {
            "ours": timed(partial(objects, findings, source=of.instances, provenance=PROVENANCE)),
            "highdicom": timed(partial(_highdicom, sources, array, count)),
        }
        samples = alternate(plan.pairs, works)
        lines.append(at_most(limit, f"{what}, {name}", samples, "ours", "highdicom"))
    return lines


def _series(slices: int) -> tuple[Volume, list[Dataset]]:
    """Return a volume and the datasets of its slices without pixels; a few datasets repeat."""
    few = list(phantom.datasets(slices=4, size=SIZE))
    datasets = []
    for index in range(slices):
        dataset = deepcopy(few[index % 4])
        dataset.SOPInstanceUID, dataset.InstanceNumber = generate_uid(entropy_srcs=[str(index)]), index + 1
        dataset.ImagePositionPatient = [*few[0].ImagePositionPatient[:2], index * 0.5]
        dataset.SliceThickness = dataset.SpacingBetweenSlices = 0.5
        datasets.append(dataset)
    of = study([io.BytesIO(convert_dataset_to_bytes(each)) for each in datasets]).series[0].volume()
    for dataset in datasets:
        del dataset.PixelData
    return of, datasets


def _sphere(place: Sequence[NDArray[np.int16]], shape: tuple[int, ...], offset: int) -> NDArray[np.bool_]:
    """A ball that fills most slices."""
    z, y, x = (axis.astype(np.float32) / (size / 2) - 1 for axis, size in zip(place, shape, strict=True))
    ball: NDArray[np.bool_] = z**2 + y**2 + (x - offset / SIZE) ** 2 < 0.8
    return ball


def _bands(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Labels 1 to 5, each in every slice."""
    labels = np.zeros(shape, np.uint8)
    for number in range(SEGMENTS):
        labels[:, 20 + 90 * number : 90 + 90 * number, 100:400] = number + 1
    return labels


def _highdicom(sources: Sequence[Dataset], array: NDArray[Any], count: int) -> Dataset:
    """Write the SEG as highdicom's documentation shows it."""
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import Segmentation, SegmentDescription

    algorithm = AlgorithmIdentificationSequence("benchmark", codes.DCM.ArtificialIntelligence, "1")
    descriptions = [
        SegmentDescription(
            segment_number=number,
            segment_label=str(number),
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Lung,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for number in range(1, count + 1)
    ]
    return Segmentation(
        source_images=sources,
        pixel_array=array,
        segmentation_type="BINARY",
        segment_descriptions=descriptions,
        series_instance_uid=generate_uid(),
        series_number=1,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="benchmark",
        manufacturer_model_name="benchmark",
        software_versions="1",
        device_serial_number="1",
    )
