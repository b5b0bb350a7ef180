"""An answer laid over its study: a PNG for each image, and one contact sheet."""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gateway.dicom import render
from gateway.dicom.geometry import affine, normal, pixel_spacing, to_index
from gateway.dicom.instances import Instance, group_by_series, read_instance, sort_spatially
from gateway.dicom.palettes import CATEGORICAL, Colour
from gateway.dicom.pixels import decode, to_rgb
from gateway.dicom.placement import Layer, frame_index, images, layers
from gateway.dicom.sheet import Tile, contact_sheet
from gateway.errors import StudyRefused

SHEET = "contact_sheet.png"
BOX, LINE = CATEGORICAL[2], CATEGORICAL[1]
CAPTURES = ("dicom", "dicom_secondary_capture")
Progress = Callable[[int, int], None]


def write_pictures(
    out: Path,
    instances: Sequence[Instance],
    answer: dict[str, Any],
    buffers: Sequence[Any],
    *,
    labels: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Write the pictures of one answer of protocol 1.0 into ``out``; returns their paths, the contact sheet first.

    ``<index>_<file name>.png`` for each image, the index counting from 0 in its series, with all findings on it;
    ``labels`` adds the labels of study and series; ``sc_<n>.png`` for each DICOM part that holds an image. Raises
    AnswerInvalid for a mask that fits no image, StudyRefused for an image that cannot be decoded.
    """
    shown = [one for one in instances if one.frames]
    gallery = _Gallery(out, answer, layers(shown, answer, buffers), labels)
    total, written, tiles = sum(one.frames for one in shown), list[Path](), list[Tile]()
    for path, tile in gallery.pictures(shown):
        written.append(path)
        tiles.append(tile)
        if progress is not None:
            progress(len(written), total)
    captures = list(_captures(out, answer, buffers))
    tiles += [tile for _, tile in captures]
    sheet = contact_sheet(tiles, _title(answer), _subtitle(shown, tiles), gallery.legend())
    sheet.save(out / SHEET)
    return [out / SHEET, *written, *(path for path, _ in captures)]


@dataclass(frozen=True)
class _Gallery:
    out: Path
    answer: dict[str, Any]
    layers: list[Layer]
    labels: bool

    def pictures(self, instances: Sequence[Instance]) -> Iterator[tuple[Path, Tile]]:
        names = set[str]()
        for series in group_by_series(instances).values():
            for index, one in enumerate(sort_spatially(series)):
                pixels = decode(one.source)
                for _, frame in images([one]):
                    rgb = to_rgb(one.header, pixels[frame] if one.frames > 1 else pixels, frame)
                    canvas, found = self._drawn(one, frame, rgb)
                    tile = Tile(canvas.picture.copy(), _aspect(one), _caption(one, frame, index), found)
                    if self.labels:
                        canvas.words(list(self._words(one)))
                    canvas.legend(self.legend())
                    path = self.out / _unique(_file_name(one, index, frame), names)
                    canvas.picture.save(path, compress_level=1)
                    yield path, tile

    def _drawn(self, one: Instance, frame: int, rgb: render.RGB) -> tuple[render.Canvas, bool]:
        """An image with its findings, and whether there are any."""
        found = 0
        for layer in self.layers:
            mask = layer.at((one.sop_instance_uid, frame))
            if mask is not None and mask.any():
                rgb, found = _blend(rgb, layer, mask), found + 1
        canvas = render.Canvas(rgb)
        for box in self._of("bounding_boxes_2d", one):
            canvas.box(box["top_left"], box["bottom_right"], str(box.get("label", "")), BOX)
            found += 1
        for line in self._lines(one, frame):
            canvas.line(*line, LINE)
            found += 1
        return canvas, bool(found)

    def _of(self, kind: str, one: Instance) -> list[dict[str, Any]]:
        """The annotations of an image; those that name none belong to the only image there can be."""
        return [found for found in self.answer.get(kind, []) if found.get("SOPInstanceUID") == one.sop_instance_uid]

    def _lines(self, one: Instance, frame: int) -> Iterator[tuple[Any, Any, str]]:
        for line in self._of("linear_measurements_2d", one):
            if one.frames > 1 and frame_index(line.get("frame_number")) != frame:
                continue
            start, end = np.asarray(line["start"], float), np.asarray(line["end"], float)
            if line["coordinates_type"] == "world" and len(start) == 3:
                matrix = affine([one])
                start, end = to_index(matrix, start)[:0:-1], to_index(matrix, end)[:0:-1]
            yield start[:2], end[:2], f"{line.get('label', '')} {_length(start, end, one)}".strip()

    def _words(self, one: Instance) -> Iterator[str]:
        series = self.answer.get("series_ml_json", {}).get(one.series_instance_uid, {})
        for labels in (self.answer.get("study_ml_json", {}), series):
            yield from (f"{name}: {value}" for name, value in labels.items())

    def legend(self) -> list[tuple[str, Colour]]:
        """The names in the answer's masks with their colours; of a heatmap the colour of its hottest."""
        entries = dict[str, Colour]()
        for layer in self.layers:
            for label, name in layer.names.items():
                entries.setdefault(
                    name, layer.tints[label] if layer.lut is None else tuple(layer.lut[255, :3].tolist())
                )
        return list(entries.items())


def _blend(rgb: render.RGB, layer: Layer, mask: Any) -> render.RGB:
    kind = layer.part["binary_type"]
    if layer.lut is not None:
        return render.blend_heatmap(rgb, mask, layer.lut)
    if kind == "numeric_label_mask":
        return render.blend_labels(rgb, mask, layer.tints)
    threshold = layer.part.get("probability_threshold", 0.5) * 255 if kind == "probability_mask" else 0
    return render.blend_region(rgb, mask > threshold, layer.tints[1])


def _captures(out: Path, answer: dict[str, Any], buffers: Sequence[Any]) -> Iterator[tuple[Path, Tile]]:
    """DICOM parts as pictures; those without an image, such as a report, are passed over."""
    kinds = [part["binary_type"] for part in answer.get("parts", [])]
    files = [buffer for kind, buffer in zip(kinds, buffers, strict=True) if kind.startswith("dicom")]
    for number, data in enumerate(files):
        try:
            one = read_instance(io.BytesIO(data))
            picture = render.Canvas(to_rgb(one.header, decode(io.BytesIO(data), 0 if one.frames > 1 else None))).picture
        except StudyRefused:
            continue
        path = out / f"sc_{number}.png"
        picture.save(path)
        yield path, Tile(picture, 1.0, f"DICOM part {number}", True)


def _file_name(one: Instance, index: int, frame: int) -> str:
    name = one.source.name if isinstance(one.source, Path) else one.sop_instance_uid
    safe = re.sub(r"[^\w.-]", "_", name).lstrip(".") or "image"
    return f"{index}_{safe}{f'_frame{frame}' if one.frames > 1 else ''}.png"


def _unique(name: str, names: set[str]) -> str:
    stem, number = name.removesuffix(".png"), 1
    while name in names:
        number += 1
        name = f"{stem}_{number}.png"
    names.add(name)
    return name


def _caption(one: Instance, frame: int, index: int) -> str:
    if one.frames > 1:
        return f"{index}, frame {frame}"
    if one.position is None or one.orientation is None:
        return f"{index}"
    return f"{index}   {one.position @ normal(one.orientation):.1f} mm"


def _aspect(one: Instance) -> float:
    """How much taller than wide a pixel is (PixelSpacing is rows first)."""
    try:
        rows, columns = pixel_spacing(one)
    except StudyRefused:
        return 1.0
    return float(rows / columns)


def _length(start: Any, end: Any, one: Instance) -> str:
    try:
        rows, columns = pixel_spacing(one)
    except StudyRefused:
        return f"{np.hypot(*(end - start)[:2]):.0f} px"
    return f"{np.hypot((end - start)[0] * columns, (end - start)[1] * rows):.1f} mm"


def _title(answer: dict[str, Any]) -> str:
    counts = Counter(part["binary_type"].replace("_", " ") for part in answer.get("parts", []))
    counts["bounding box"] = len(answer.get("bounding_boxes_2d", []))
    counts["linear measurement"] = len(answer.get("linear_measurements_2d", []))
    words = [
        f"{count} {kind}{'' if count == 1 else 'es' if kind.endswith('x') else 's'}"
        for kind, count in (+counts).items()
    ]
    return ", ".join(words) or "No findings on images"


def _subtitle(shown: Sequence[Instance], tiles: Sequence[Tile]) -> str:
    series = len({one.series_instance_uid for one in shown})
    found = sum(tile.found for tile in tiles)
    return f"{len(tiles)} images of {series} series, {found} with findings"
