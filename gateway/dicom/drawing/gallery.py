"""An answer laid over its study: a PNG for each image, and one contact sheet."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gateway.dicom.decoding.pixels import decode, to_rgb
from gateway.dicom.drawing import render
from gateway.dicom.drawing.captures import objects, pictured
from gateway.dicom.drawing.marks import Mark, marks
from gateway.dicom.drawing.palettes import CATEGORICAL, Colour
from gateway.dicom.drawing.placement import Key, Layer, images, layers, over
from gateway.dicom.drawing.sheet import MAX_TILES, Tile, choose, contact_sheet, reduced
from gateway.dicom.reading.geometry import normal, pixel_spacing
from gateway.dicom.reading.instances import Instance, group_by_series, sort_spatially
from gateway.dicom.reading.redaction import naming
from gateway.dicom.reading.sop_classes import kind_of
from gateway.errors import StudyRefused

SHEET = "contact_sheet.png"
BOX, LINE = CATEGORICAL[2], CATEGORICAL[1]
LONGEST_NAME = 48
"""Characters of a file's name that are kept in that of its picture; file systems allow 255 bytes in all."""
Progress = Callable[[int, int], None]
NOTHING: Mapping[int, Sequence[Any]] = MappingProxyType({})


def write_pictures(
    out: Path,
    instances: Sequence[Instance],
    answer: dict[str, Any],
    buffers: Sequence[Any],
    *,
    segments: Mapping[int, Sequence[Any]] = NOTHING,
    labels: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Write the pictures of one answer of protocol 1.0 into ``out``; returns their paths, the contact sheet first.

    ``<index>_<file name>.png`` for each image, the index counting from 0 in its series, with all findings on it;
    ``labels`` adds the labels of study and series. ``segments`` are the masks in DICOM parts, by their index in
    ``parts``; other DICOM parts that hold images have pictures of their own, named as their files are: ``sc_<n>.png``,
    or one for each of several frames. Raises AnswerInvalid for a finding that belongs to no image, StudyRefused for an
    image that cannot be decoded.
    """
    shown = [one for one in instances if one.frames]
    arrays = layers(shown, answer, buffers)
    drawn = over((mask for masks in segments.values() for mask in masks), arrays)
    gallery = _Gallery(answer, [*arrays, *drawn], marks(shown, answer), labels)
    out.mkdir(parents=True, exist_ok=True)
    apart = {name: data for index, (name, data) in objects(answer, buffers).items() if index not in segments}
    captures = list(pictured(out, apart))
    silent = len(apart) - len({path.stem.partition("_frame")[0] for path, _ in captures})
    views = list(gallery.views(shown))
    listed = {view.name for view in choose(views, max(1, MAX_TILES - len(captures)))}
    tiles = list[Tile]()
    for count, (view, canvas) in enumerate(gallery.pictures(views), start=1):
        if view.name in listed:
            tiles.append(Tile(reduced(canvas.picture), _aspect(view.one), view.caption, view.found))
        gallery.add_words(view, canvas)
        canvas.picture.save(out / view.name, compress_level=1)
        if progress is not None:
            progress(count, len(views))
    tiles += [tile for _, tile in captures]
    title, subtitle = _title(answer, buffers), _subtitle(views, captures, silent)
    contact_sheet(tiles, title, subtitle, gallery.legend()).save(out / SHEET)
    return [out / SHEET, *(out / view.name for view in views), *(path for path, _ in captures)]


@dataclass(frozen=True)
class _View:
    """One image to draw: its file, frame, place in its series, file name, whether it has findings, which series."""

    one: Instance
    frame: int
    index: int
    name: str
    found: bool
    series: str

    @property
    def key(self) -> Key:
        return self.one.source, self.frame

    @property
    def caption(self) -> str:
        return self.series + self._place

    @property
    def _place(self) -> str:
        if self.one.frames > 1:
            return f"{self.index}, frame {self.frame}"
        if self.one.position is None or self.one.orientation is None:
            return f"{self.index}"
        return f"{self.index}   {self.one.position @ normal(self.one.orientation):.1f} mm"


@dataclass(frozen=True)
class _Gallery:
    answer: dict[str, Any]
    layers: list[Layer]
    marks: dict[Key, list[Mark]]
    labels: bool

    def views(self, instances: Sequence[Instance]) -> Iterator[_View]:
        """The images in order; known before any is decoded, so that no more pictures are held than the sheet shows."""
        names = set[str]()
        groups = group_by_series(instances)
        for number, series in enumerate(groups.values(), start=1):
            which = f"series {number}, " if len(groups) > 1 else ""
            for index, one in enumerate(sort_spatially(series)):
                for _, frame in images([one]):
                    name = _unique(_file_name(one, index, frame), names)
                    yield _View(one, frame, index, name, self._found((one.source, frame)), which)

    def pictures(self, views: Sequence[_View]) -> Iterator[tuple[_View, render.Canvas]]:
        for one, group in groupby(views, key=lambda view: view.one):
            pixels = decode(one.source)
            for view in group:
                with naming(one.source):
                    rgb = to_rgb(one.header, pixels[view.frame] if one.frames > 1 else pixels, view.frame)
                yield view, self._drawn(view.key, rgb)

    def _found(self, key: Key) -> bool:
        planes = ((layer, layer.at(key)) for layer in self.layers)
        return key in self.marks or any(plane is not None and layer.region(plane).any() for layer, plane in planes)

    def _drawn(self, key: Key, rgb: render.RGB) -> render.Canvas:
        for layer in self.layers:
            if (plane := layer.at(key)) is not None:
                rgb = _blend(rgb, layer, plane)
        canvas = render.Canvas(rgb)
        for mark in self.marks.get(key, []):
            draw, tint = (canvas.box, BOX) if mark.is_box else (canvas.line, LINE)
            draw(mark.start.tolist(), mark.end.tolist(), mark.text, tint)
        return canvas

    def add_words(self, view: _View, canvas: render.Canvas) -> None:
        """The legend and, if wanted, the labels of the study and of the image's series."""
        if self.labels:
            series = self.answer.get("series_ml_json", {}).get(view.one.series_instance_uid, {})
            canvas.words([*_words(self.answer.get("study_ml_json", {})), *_words(series)])
        canvas.legend(self.legend())

    def legend(self) -> list[tuple[str, Colour]]:
        """The names in the answer's masks with their colours; of a heatmap the colour of its hottest."""
        entries = dict[str, Colour]()
        for layer in self.layers:
            for label, name in layer.names.items():
                hottest = None if layer.lut is None else tuple(layer.lut[255, :3].tolist())
                entries.setdefault(name, hottest or layer.tints[label])
        return list(entries.items())


def _words(labels: Any) -> list[str]:
    """Labels as lines; what is no object, as it is."""
    return [f"{name}: {value}" for name, value in labels.items()] if isinstance(labels, dict) else [str(labels)]


def _blend(rgb: render.RGB, layer: Layer, plane: Any) -> render.RGB:
    if layer.lut is not None:
        return render.blend_heatmap(rgb, plane, layer.lut)
    if layer.part["binary_type"] == "numeric_label_mask":
        return render.blend_labels(rgb, plane, layer.tints)
    return render.blend_region(rgb, layer.region(plane), layer.tints[1])


def _file_name(one: Instance, index: int, frame: int) -> str:
    told = getattr(one.source, "name", "")  # a path and an open file have one; a file in memory may
    name = (isinstance(told, str) and Path(told).name) or one.sop_instance_uid
    safe = re.sub(r"[^\w.-]", "_", name).lstrip(".")[:LONGEST_NAME] or "image"
    return f"{index}_{safe}{f'_frame{frame}' if one.frames > 1 else ''}.png"


def _unique(name: str, names: set[str]) -> str:
    """A name that no other picture has, also where a file system takes a and A for one."""
    stem, number = name.removesuffix(".png"), 1
    while name.casefold() in names:
        number += 1
        name = f"{stem}_{number}.png"
    names.add(name.casefold())
    return name


def _aspect(one: Instance) -> float:
    """How much taller than wide a pixel is (PixelSpacing is rows first)."""
    try:
        rows, columns = pixel_spacing(one)
    except StudyRefused:
        return 1.0
    return float(rows / columns)


def _title(answer: dict[str, Any], buffers: Sequence[Any]) -> str:
    parts = zip(answer.get("parts", []), buffers, strict=True)
    counts = Counter(_called(part["binary_type"], buffer) for part, buffer in parts)
    counts["bounding box"] = len(answer.get("bounding_boxes_2d", []))
    counts["linear measurement"] = len(answer.get("linear_measurements_2d", []))
    words = [
        f"{count} {kind}{'' if count == 1 else 'es' if kind.endswith('x') else 's'}"
        for kind, count in (+counts).items()
    ]
    return ", ".join(words) or "No findings on images"


def _called(binary_type: str, buffer: Any) -> str:
    return kind_of(binary_type, buffer).name if binary_type.startswith("dicom") else binary_type.replace("_", " ")


def _subtitle(views: Sequence[_View], captures: Sequence[tuple[Path, Tile]], silent: int) -> str:
    """What is on the sheet; ``silent`` counts DICOM objects that are not, such as reports."""
    series = len({view.one.series_instance_uid for view in views})
    found = sum(view.found for view in views) + len(captures)
    beside = f", {silent} DICOM object{'' if silent == 1 else 's'} not drawn" if silent else ""
    return f"{len(views) + len(captures)} images of {series} series, {found} with findings{beside}"
