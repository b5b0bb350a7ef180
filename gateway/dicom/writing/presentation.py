"""Boxes and lengths as presentation states (PS3.3 A.33): lines and text that a viewer draws over the images."""

import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom import Dataset

from gateway.contract.findings import Array, BoundingBox, LinearMeasurement
from gateway.dicom.decoding.windows import linear
from gateway.dicom.reading.attributes import number, numbers, text
from gateway.dicom.reading.geometry import affine, to_index
from gateway.dicom.reading.instances import Instance
from gateway.dicom.reading.redaction import naming
from gateway.dicom.volumes.stack import GREY, Frame, group, place
from gateway.dicom.writing.provenance import Stamp, line
from gateway.dicom.writing.source_frames import (
    classes_of,
    frame_of,
    is_on_every_frame,
    name_classes,
    spacing_mm,
    stand_in,
)
from gateway.errors import AnswerInvalid, StudyRefused

Mark = BoundingBox | LinearMeasurement

CENTRE = 0.5
"""From indices, (0, 0) the centre of the first pixel, to where its top left corner is (0, 0) (PS3.3 C.10.5.1.2)."""

LAYER = "FINDINGS"

NARROWEST = 1
"""The least Window Width (PS3.3 C.11.2.1.2); an image with a lesser one has no window in its presentation state."""


@dataclass(frozen=True)
class Drawn:
    """A mark as a line through (point, (column, row)) on its frame; (0, 0) is the top left corner of the image."""

    frame: Frame
    points: Array
    label: str
    on_every_frame: bool = False

    @property
    def frame_number(self) -> int | None:
        """The number of the frame, from 1; None for an image of one frame, and for a mark on all frames."""
        instance, frame = self.frame
        return frame + 1 if instance.frames > 1 and not self.on_every_frame else None


def states(marks: Sequence[Mark], source: Sequence[Instance]) -> list[list[Drawn]]:
    """Return the marks by presentation state: one state has images of one series, size and rescale."""
    found: dict[tuple[object, ...], list[Drawn]] = {}
    for drawn in filter(None, (draw(mark, source) for mark in marks)):
        instance, _ = drawn.frame
        rescale = tuple(_rescale(drawn.frame).items())
        key = instance.series_instance_uid, instance.rows, instance.columns, _is_grey(instance), rescale
        found.setdefault(key, []).append(drawn)
    return list(found.values())


def draw(mark: Mark, source: Sequence[Instance]) -> Drawn | None:
    """Return a mark on its image; None for a length in the patient that is on no image. Raises AnswerInvalid."""
    if len(mark.start if isinstance(mark, LinearMeasurement) else ()) == 3:
        return _project(mark, source)
    drawn = Drawn(frame_of(mark, source), _points(mark), mark.label, is_on_every_frame(mark))
    if not _is_inside(drawn):
        raise AnswerInvalid("", "A box or a length leaves its image.")
    return drawn


def _project(mark: Mark, source: Sequence[Instance]) -> Drawn | None:
    """Along the normal onto the image that is named, if there is one and the points are on it."""
    try:
        frame = frame_of(mark, source)
        indices = to_index(affine([place(frame)]), _points(mark) - CENTRE)
    except (AnswerInvalid, StudyRefused):
        return None
    drawn = Drawn(frame, indices[:, :0:-1] + CENTRE, mark.label, is_on_every_frame(mark))
    return drawn if _is_inside(drawn) else None


def _is_inside(drawn: Drawn) -> bool:
    size = np.array([drawn.frame[0].columns, drawn.frame[0].rows])
    return bool((drawn.points >= 0).all() and (drawn.points <= size).all())


def _points(mark: Mark) -> Array:
    """The ends of a length; the corners of a box as a closed line."""
    if isinstance(mark, LinearMeasurement):
        return np.array([mark.start, mark.end], float) + CENTRE
    (left, top), (right, bottom) = mark.top_left, mark.bottom_right
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], float) + CENTRE


def presentation_state(state: Sequence[Drawn], stamp: Stamp) -> Dataset:
    """Return a Grayscale Softcopy Presentation State, a Color one for images in colour."""
    from highdicom.pr import ColorSoftcopyPresentationState, GraphicLayer, GrayscaleSoftcopyPresentationState

    instances = {each.frame[0].sop_instance_uid: each.frame for each in state}
    images = {uid: _image(frame, stamp) for uid, frame in instances.items()}
    layer = GraphicLayer(LAYER, order=1, description="Findings of a model")
    common: dict[str, Any] = {
        "referenced_images": list(images.values()),
        "content_label": LAYER,
        "content_description": "Findings of a model",
        "graphic_annotations": [_annotation(each, images[each.frame[0].sop_instance_uid], layer) for each in state],
        "graphic_layers": [layer],
        **stamp.placeholders,
    }
    made = (
        GrayscaleSoftcopyPresentationState(**common)
        if _is_grey(state[0].frame[0])
        else ColorSoftcopyPresentationState(icc_profile=_srgb(), **common)
    )
    dataset = Dataset(made)
    dataset.ContentCreatorName = ""
    _set_area(dataset.DisplayedAreaSelectionSequence[0], state[0].frame)
    name_classes(dataset, classes_of([frame[0] for frame in instances.values()]))
    return stamp.finish(dataset, "Findings")


def _image(frame: Frame, stamp: Stamp) -> Dataset:
    """The image with its look-up tables, which a presentation state replaces and so must repeat (PS3.4 N.2)."""
    image = stand_in(frame, stamp)
    for keyword, found in _rescale(frame).items():
        setattr(image, keyword, found)
    if not _is_grey(frame[0]):
        image.SamplesPerPixel, image.PhotometricInterpretation = 3, "RGB"  # of a palette, once it is looked up
    with naming(frame[0].source):
        window = group(frame, "FrameVOILUTSequence")
        centre, width = number(window, "WindowCenter"), number(window, "WindowWidth")
    if centre is not None and width is not None and width >= NARROWEST and _is_grey(frame[0]):
        image.WindowCenter, image.WindowWidth = centre, width
    return image


def _rescale(frame: Frame) -> dict[str, float | str]:
    with naming(frame[0].source):
        found, stated = group(frame, "PixelValueTransformationSequence"), linear(frame[0].header, frame[1])
    if stated is None or not _is_grey(frame[0]):
        return {}
    slope, intercept = stated
    return {"RescaleSlope": slope, "RescaleIntercept": intercept, "RescaleType": text(found, "RescaleType") or "US"}


def _is_grey(instance: Instance) -> bool:
    return text(instance.header, "PhotometricInterpretation") in GREY


def _annotation(drawn: Drawn, image: Dataset, layer: Any) -> Any:
    from highdicom.pr import GraphicAnnotation, GraphicObject, TextObject

    label = line(drawn.label, 1024)
    annotation = GraphicAnnotation(
        referenced_images=[image],
        graphic_layer=layer,
        graphic_objects=[GraphicObject("POLYLINE", drawn.points, "PIXEL")],
        text_objects=[TextObject(label, "PIXEL", anchor_point=tuple(drawn.points[0]))] if label else None,
    )
    if drawn.frame_number is not None:
        annotation.ReferencedImageSequence[0].ReferencedFrameNumber = drawn.frame_number
    return annotation


def _set_area(area: Dataset, frame: Frame) -> None:
    """Show the whole image in its proportions (PS3.3 C.10.4)."""
    area.pop("PixelOriginInterpretation", None)
    spacing = spacing_mm(frame) if numbers(frame[0].header, "PixelAspectRatio", 2) is None else None
    if spacing is not None:
        area.pop("PresentationPixelAspectRatio", None)
        area.PresentationPixelSpacing = [round(float(each), 6) for each in spacing]


def _srgb() -> bytes:
    """The ICC profile of sRGB, the same bytes at each call."""
    found = pkgutil.get_data("highdicom", "_icc_profiles/sRGB_v4_ICC_preference.icc")
    assert found is not None
    return found
