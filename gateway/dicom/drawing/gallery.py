"""An answer laid over its study: a PNG for each image, and one contact sheet."""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image

from gateway.dicom.decoding.pixels import decode, to_rgb
from gateway.dicom.drawing import render
from gateway.dicom.drawing.marks import Mark, marks
from gateway.dicom.drawing.palettes import CATEGORICAL, Colour
from gateway.dicom.drawing.placement import Key, Layer, images, layers
from gateway.dicom.drawing.sheet import MAX_TILES, TILE_SIZES, Tile, choose, contact_sheet
from gateway.dicom.reading.geometry import normal, pixel_spacing
from gateway.dicom.reading.instances import Instance, group_by_series, read_instance, sort_spatially
from gateway.errors import StudyRefused

SHEET = "contact_sheet.png"
BOX, LINE = CATEGORICAL[2], CATEGORICAL[1]
LONGEST_NAME = 48
"""Characters of a file's name that are kept in that of its picture; file systems allow 255 bytes in all."""
CAPTURE = re.compile(r"sc_\d+\.png")
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
    AnswerInvalid for a finding that belongs to no image, StudyRefused for an image that cannot be decoded.
    """
    shown = [one for one in instances if one.frames]
    gallery = _Gallery(answer, layers(shown, answer, buffers), marks(shown, answer), labels)
    out.mkdir(parents=True, exist_ok=True)
    captures = list(_captures(out, answer, buffers))
    views = list(gallery.views(shown))
    listed = {view.name for view in choose(views, max(1, MAX_TILES - len(captures)))}
    tiles = list[Tile]()
    for count, (view, canvas) in enumerate(gallery.pictures(views), start=1):
        if view.name in listed:
            tiles.append(Tile(_reduced(canvas.picture), _aspect(view.one), view.caption, view.found))
        gallery.add_words(view, canvas)
        canvas.picture.save(out / view.name, compress_level=1)
        if progress is not None:
            progress(count, len(views))
    tiles += [tile for _, tile in captures]
    contact_sheet(tiles, _title(answer), _subtitle(views, captures), gallery.legend()).save(out / SHEET)
    return [out / SHEET, *(out / view.name for view in views), *(path for path, _ in captures)]


@dataclass(frozen=True)
class _View:
    """One image to draw: its file, its frame, its place in its series, its file name, and whether it has findings."""

    one: Instance
    frame: int
    index: int
    name: str
    found: bool

    @property
    def key(self) -> Key:
        return self.one.source, self.frame

    @property
    def caption(self) -> str:
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
        for series in group_by_series(instances).values():
            for index, one in enumerate(sort_spatially(series)):
                for _, frame in images([one]):
                    name = _unique(_file_name(one, index, frame), names)
                    yield _View(one, frame, index, name, self._found((one.source, frame)))

    def pictures(self, views: Sequence[_View]) -> Iterator[tuple[_View, render.Canvas]]:
        for one, group in groupby(views, key=lambda view: view.one):
            pixels = decode(one.source)
            for view in group:
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


def _reduced(picture: Image.Image) -> Image.Image:
    """A copy no larger than the largest tile."""
    copy = picture.copy()
    copy.thumbnail((TILE_SIZES[1], TILE_SIZES[1]), Image.Resampling.LANCZOS)
    return copy


def _blend(rgb: render.RGB, layer: Layer, plane: Any) -> render.RGB:
    if layer.lut is not None:
        return render.blend_heatmap(rgb, plane, layer.lut)
    if layer.part["binary_type"] == "numeric_label_mask":
        return render.blend_labels(rgb, plane, layer.tints)
    return render.blend_region(rgb, layer.region(plane), layer.tints[1])


def _captures(out: Path, answer: dict[str, Any], buffers: Sequence[Any]) -> Iterator[tuple[Path, Tile]]:
    """DICOM parts as pictures; those without an image that can be shown, such as a report, are passed over."""
    for earlier in out.iterdir():  # would be taken for a part of this answer
        if CAPTURE.fullmatch(earlier.name):
            earlier.unlink()
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
        yield path, Tile(_reduced(picture), 1.0, f"DICOM part {number}", True)


def _file_name(one: Instance, index: int, frame: int) -> str:
    name = one.source.name if isinstance(one.source, Path) else one.sop_instance_uid
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


def _title(answer: dict[str, Any]) -> str:
    counts = Counter(part["binary_type"].replace("_", " ") for part in answer.get("parts", []))
    counts["bounding box"] = len(answer.get("bounding_boxes_2d", []))
    counts["linear measurement"] = len(answer.get("linear_measurements_2d", []))
    words = [
        f"{count} {kind}{'' if count == 1 else 'es' if kind.endswith('x') else 's'}"
        for kind, count in (+counts).items()
    ]
    return ", ".join(words) or "No findings on images"


def _subtitle(views: Sequence[_View], captures: Sequence[tuple[Path, Tile]]) -> str:
    series = len({view.one.series_instance_uid for view in views})
    found = sum(view.found for view in views) + len(captures)
    return f"{len(views) + len(captures)} images of {series} series, {found} with findings"
