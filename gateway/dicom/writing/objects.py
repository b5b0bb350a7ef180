"""Findings -> DICOM objects in the study that they were made from."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import TypeVar

from pydicom import Dataset

from gateway.contract.findings import (
    BoundingBox,
    Classification,
    Finding,
    Heatmap,
    LabelMask,
    LinearMeasurement,
    Mask,
    ProbabilityMask,
    SecondaryCapture,
    StructuredReport,
)
from gateway.contract.requests import Provenance
from gateway.dicom.reading.instances import Instance
from gateway.dicom.volumes.stack import Frame
from gateway.dicom.writing import checks, parametric, picture, presentation, report, segmentation
from gateway.dicom.writing.provenance import FIRST_NUMBER, Stamp
from gateway.dicom.writing.source_frames import frames_of, is_placed
from gateway.errors import AnswerInvalid

Made = tuple[Dataset, tuple[Frame, ...] | None]
"""An object, and the frames that its planes lie on; None for one that the model made itself, which is not checked."""

Masks = TypeVar("Masks", Mask | LabelMask, LabelMask, ProbabilityMask, Heatmap)


def objects(
    findings: Sequence[Finding], *, source: Sequence[Instance], provenance: Provenance, label_maps: bool = False
) -> list[Dataset]:
    """The objects that say ``findings``, each a series of its own in the study of ``source``, checked before it leaves.

    Masks and label masks on the same images share one binary SEG, probability masks one fractional SEG; a heatmap gives
    a Parametric Map or, on an image without a place in the patient, a Secondary Capture, as a picture does; boxes,
    lengths, classifications and measurements give one report of TID 1500; boxes and lengths also presentation states. A
    finished dataset is passed on as it is; conformance is not for DICOM. With ``label_maps`` each label mask is a label
    map SEG of its own, which few viewers read yet.

    The same input, model, parameters and findings give the same UIDs and, with the same time of receipt, the same
    bytes. Raises AnswerInvalid for what cannot be said or does not pass ``checks.check``.
    """
    if not source:
        raise AnswerInvalid("", "DICOM objects need a study to belong to.")
    stamps = (Stamp(provenance, source[0].header, number) for number in count(FIRST_NUMBER))
    made = [
        *_segmentations(findings, source, stamps, label_maps),
        *_maps(findings, source, stamps),
        *_pictures(findings, stamps),
        *_reports(findings, source, stamps),
        *_presentation_states(findings, source, stamps),
    ]
    for dataset, frames in made:
        if frames is not None:
            checks.check(dataset, source, frames)
    return [dataset for dataset, _ in made]


def _segmentations(
    findings: Sequence[Finding], source: Sequence[Instance], stamps: Iterator[Stamp], label_maps: bool
) -> Iterator[Made]:
    labelled = [one for one in findings if isinstance(one, LabelMask)] if label_maps else []
    for frames, label_masks in _by_frames(labelled, source):
        for mask in label_masks:
            yield segmentation.label_map(mask, frames, next(stamps)), frames
    binary = Mask if label_maps else Mask | LabelMask
    for frames, masks in _by_frames([one for one in findings if isinstance(one, binary)], source):
        yield segmentation.binary(masks, frames, next(stamps)), frames
    for frames, chances in _by_frames([one for one in findings if isinstance(one, ProbabilityMask)], source):
        yield segmentation.fractional(chances, frames, next(stamps)), frames


def _by_frames(masks: Iterable[Masks], source: Sequence[Instance]) -> Iterator[tuple[tuple[Frame, ...], list[Masks]]]:
    """Masks by the images they lie on."""
    groups: dict[tuple[tuple[int, int], ...], tuple[tuple[Frame, ...], list[Masks]]] = {}
    for mask in masks:
        frames = frames_of(mask.of, source)
        shape = (len(frames), frames[0][0].rows, frames[0][0].columns)
        if mask.array.shape not in (shape, shape[1:] if len(frames) == 1 else shape):
            raise AnswerInvalid("", f"A mask has the shape {mask.array.shape}, but the images it lies on have {shape}.")
        groups.setdefault(tuple((id(one), frame) for one, frame in frames), (frames, []))[1].append(mask)
    yield from groups.values()


def _maps(findings: Sequence[Finding], source: Sequence[Instance], stamps: Iterator[Stamp]) -> Iterator[Made]:
    for frames, heatmaps in _by_frames([one for one in findings if isinstance(one, Heatmap)], source):
        for heatmap in heatmaps:
            if is_placed(frames[0]):
                yield parametric.parametric_map(heatmap, frames, next(stamps)), frames
            else:
                yield picture.heat(heatmap, next(stamps)), ()


def _pictures(findings: Sequence[Finding], stamps: Iterator[Stamp]) -> Iterator[Made]:
    for finding in findings:
        if isinstance(finding, SecondaryCapture):
            finished = isinstance(finding.picture, Dataset)
            yield picture.secondary_capture(finding, next(stamps)), None if finished else ()


def _reports(findings: Sequence[Finding], source: Sequence[Instance], stamps: Iterator[Stamp]) -> Iterator[Made]:
    """Finished ones as they are, and one of all the rest."""
    said: list[report.Measured] = []
    for finding in findings:
        if isinstance(finding, StructuredReport) and isinstance(finding.content, Dataset):
            yield finding.content, None
        elif isinstance(finding, BoundingBox | LinearMeasurement | Classification | StructuredReport):
            said.append(finding)
    if said:
        yield report.report(said, source, next(stamps)), ()


def _presentation_states(
    findings: Sequence[Finding], source: Sequence[Instance], stamps: Iterator[Stamp]
) -> Iterator[Made]:
    marks = [one for one in findings if isinstance(one, BoundingBox | LinearMeasurement)]
    for state in presentation.states(marks, source):
        yield presentation.presentation_state(state, next(stamps)), ()
