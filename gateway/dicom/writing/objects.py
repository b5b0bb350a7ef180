"""Findings -> DICOM objects in the study that they were made from."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

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
from gateway.dicom.reading import mosaic
from gateway.dicom.reading.instances import Instance
from gateway.dicom.volumes.stack import Frame
from gateway.dicom.writing import checks, parametric, picture, presentation, report, segmentation
from gateway.dicom.writing.provenance import FIRST_NUMBER, Stamp
from gateway.dicom.writing.source_frames import frames_of, is_placed
from gateway.errors import AnswerInvalid

Made = tuple[Dataset, tuple[Frame, ...] | None]
"""An object, and the frames that its planes lie on; None for one that the model made itself, which is not checked."""


class Context(NamedTuple):
    """The needs of each writer beside its findings: the source study, the stamps to use in turn, the options."""

    source: Sequence[Instance]
    stamps: Iterator[Stamp]
    label_maps: bool


class ObjectWriter(NamedTuple):
    """A kind of object, made of all findings of some classes."""

    classes: tuple[type, ...]
    write: Callable[[Sequence[Any], Context], Iterator[Made]]


def objects(
    findings: Sequence[Finding], *, source: Sequence[Instance], provenance: Provenance, label_maps: bool = False
) -> list[Dataset]:
    """Return the DICOM objects of ``findings``, each a series of its own in the study of ``source``, and checked.

    Masks and label masks on the same images share one binary SEG, probability masks one fractional SEG; a heatmap gives
    a Parametric Map or, on an image without a place in the patient, a Secondary Capture, as a picture does; boxes,
    lengths, classifications and measurements give one report of TID 1500; boxes and lengths also presentation states. A
    finished dataset is passed on as it is; conformance is not for DICOM. With ``label_maps`` each label mask is a label
    map SEG of its own, which few viewers read yet.

    The same input, model, parameters and findings give the same UIDs and, with the same time of receipt, the same
    bytes. Raises AnswerInvalid for findings that DICOM cannot hold, and for an object that fails ``checks.check``.
    """
    if not source:
        raise AnswerInvalid("", "DICOM objects need a study to belong to.")
    stamps = (Stamp(provenance, source[0].header, number) for number in count(FIRST_NUMBER))
    context = Context(source, stamps, label_maps)
    made = list[Made]()
    for classes, write in WRITERS:
        chosen = [one for one in findings if isinstance(one, classes)]
        made += write(chosen, context)
    for dataset, frames in made:
        if frames is not None:
            checks.check(dataset, source, frames)
    return [dataset for dataset, _ in made]


def _segmentations(masks: Sequence[Mask | LabelMask], context: Context) -> Iterator[Made]:
    apart = LabelMask if context.label_maps else ()
    for frames, labelled in _by_frames([one for one in masks if isinstance(one, apart)], context.source):
        for mask in labelled:
            yield segmentation.label_map(mask, frames, next(context.stamps)), frames
    for frames, together in _by_frames([one for one in masks if not isinstance(one, apart)], context.source):
        yield segmentation.binary(together, frames, next(context.stamps)), frames


def _fractions(masks: Sequence[ProbabilityMask], context: Context) -> Iterator[Made]:
    for frames, together in _by_frames(masks, context.source):
        yield segmentation.fractional(together, frames, next(context.stamps)), frames


def _by_frames(masks: Iterable[Any], source: Sequence[Instance]) -> Iterator[tuple[tuple[Frame, ...], list[Any]]]:
    """Masks by the images they lie on."""
    groups: dict[tuple[tuple[int, int], ...], tuple[tuple[Frame, ...], list[Any]]] = {}
    for mask in masks:
        frames = frames_of(mask.of, source)
        mosaic.refuse(instance for instance, _ in frames)
        shape = (len(frames), frames[0][0].rows, frames[0][0].columns)
        if mask.array.shape not in (shape, shape[1:] if len(frames) == 1 else shape):
            raise AnswerInvalid("", f"A mask has the shape {mask.array.shape}, but the images it lies on have {shape}.")
        groups.setdefault(tuple((id(one), frame) for one, frame in frames), (frames, []))[1].append(mask)
    yield from groups.values()


def _maps(heatmaps: Sequence[Heatmap], context: Context) -> Iterator[Made]:
    for frames, together in _by_frames(heatmaps, context.source):
        for heatmap in together:
            if is_placed(frames[0]):
                yield parametric.parametric_map(heatmap, frames, next(context.stamps)), frames
            else:
                yield picture.heat(heatmap, next(context.stamps)), ()


def _pictures(captures: Sequence[SecondaryCapture], context: Context) -> Iterator[Made]:
    for capture in captures:
        finished = isinstance(capture.picture, Dataset)
        yield picture.secondary_capture(capture, next(context.stamps)), None if finished else ()


def _reports(findings: Sequence[report.Measured], context: Context) -> Iterator[Made]:
    """Finished ones as they are, and one of all others."""
    measured: list[report.Measured] = []
    for finding in findings:
        if isinstance(finding, StructuredReport) and isinstance(finding.content, Dataset):
            yield finding.content, None
        else:
            measured.append(finding)
    if measured:
        yield report.report(measured, context.source, next(context.stamps)), ()


def _presentation_states(marks: Sequence[presentation.Mark], context: Context) -> Iterator[Made]:
    for state in presentation.states(marks, context.source):
        yield presentation.presentation_state(state, next(context.stamps)), ()


WRITERS = (
    ObjectWriter((Mask, LabelMask), _segmentations),
    ObjectWriter((ProbabilityMask,), _fractions),
    ObjectWriter((Heatmap,), _maps),
    ObjectWriter((SecondaryCapture,), _pictures),
    ObjectWriter((StructuredReport, BoundingBox, LinearMeasurement, Classification), _reports),
    ObjectWriter((BoundingBox, LinearMeasurement), _presentation_states),
)
"""A row for each kind of object, in the order of their Series Numbers."""
