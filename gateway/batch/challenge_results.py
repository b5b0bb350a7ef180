"""The answer on a job of grand-challenge as the files of its output sockets."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gateway.batch.itk_images import ItkImage, write_image
from gateway.client.answer import Answer, is_mask
from gateway.errors import AnswerInvalid

VERSION = {"major": 1, "minor": 0}
"""The version of the documents of boxes and lines."""


def write_results(answer: Answer, images: Mapping[str, ItkImage], out: Path, slugs: Mapping[str, str]) -> list[Path]:
    """Write masks as ``images/<slug>/output.mha``, and values, boxes and lengths as ``<slug>.json``.

    ``images`` are the inputs by their arguments. A slug is that of ``slugs`` for a label, else the label in lower case
    with hyphens. Points are (x, y, z) mm in the patient, LPS. Raises AnswerInvalid for two findings of one slug, and
    for a DICOM object, which has no socket.
    """
    written: dict[Path, None] = {}
    for path, content in _contents(answer, images, out, slugs):
        if path in written:
            raise AnswerInvalid("", f"Two findings have the slug of {path.relative_to(out)}: name one by --socket.")
        written[path] = None
        if isinstance(content, tuple):
            write_image(content[0], content[1], path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return list(written)


def _contents(
    answer: Answer, images: Mapping[str, ItkImage], out: Path, slugs: Mapping[str, str]
) -> Iterator[tuple[Path, Any]]:
    masks = iter(answer.masks())
    for part in answer.parts:
        if not is_mask(part):
            raise AnswerInvalid("", "A DICOM object has no socket: answer masks, boxes, lengths or labels.")
        image = _image(
            images, part.get("SeriesInstanceUID") or dict(part.get("dicom_image") or {}).get("SOPInstanceUID")
        )
        kind = str(part["binary_type"])
        array = next(masks).reshape(image.array.shape[: len(image.spacing)])
        values = np.divide(array, 255, dtype=np.float32) if kind in ("probability_mask", "heatmap") else array
        yield out / "images" / _slug(part.get("label") or kind, slugs) / "output.mha", (values, image)
    for label, value in dict(answer.json.get("study_ml_json") or {}).items():
        yield out / f"{_slug(label, slugs)}.json", value
    boxes, lines = (answer.json.get(f"{kind}_2d") or [] for kind in ("bounding_boxes", "linear_measurements"))
    if boxes:
        found = [_box(box, _image(images, box.get("SOPInstanceUID"))) for box in boxes]
        document = {"type": "Multiple 2D bounding boxes", "boxes": found, "version": VERSION}
        yield out / f"{_slug('bounding boxes', slugs)}.json", document
    if lines:
        found = [_line(line, _image(images, line.get("SOPInstanceUID"))) for line in lines]
        yield out / f"{_slug('lines', slugs)}.json", {"type": "Multiple lines", "lines": found, "version": VERSION}


def _slug(label: str, slugs: Mapping[str, str]) -> str:
    return slugs.get(label) or re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-") or "output"


def _image(images: Mapping[str, ItkImage], name: Any) -> ItkImage:
    """Return the image that a finding lies on, known by its argument's name."""
    if name in images:
        return images[name]
    if len(images) == 1:
        return next(iter(images.values()))
    raise AnswerInvalid("", "A finding does not say which image it lies on.")


def _box(box: Mapping[str, Any], image: ItkImage) -> dict[str, Any]:
    (left, top), (right, bottom) = box["top_left"], box["bottom_right"]
    at = int(box.get("frame_number") or 1) - 1
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return {"name": str(box.get("label", "")), "corners": [_point(image, at, *corner) for corner in corners]}


def _line(line: Mapping[str, Any], image: ItkImage) -> dict[str, Any]:
    at = int(line.get("frame_number") or 1) - 1
    in_pixels = line.get("coordinates_type") == "pixel"
    ends = [_point(image, at, *line[end]) if in_pixels else list(line[end]) for end in ("start", "end")]
    return {"name": str(line.get("label", "")), "path_points": ends}


def _point(image: ItkImage, slice: int, column: float, row: float) -> list[float]:
    if len(image.spacing) == 3:
        return [float(value) for value in (image.affine @ (slice, row, column, 1))[:3]]
    return [column * image.spacing[0] + image.origin[0], row * image.spacing[1] + image.origin[1], 0.5]
