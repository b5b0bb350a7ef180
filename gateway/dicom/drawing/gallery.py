"""Findings laid over their study: a PNG for each image, and one contact sheet."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from gateway.contract.findings import MASKS, BoundingBox, Classification, Finding, LinearMeasurement
from gateway.dicom.decoding.pixels import decode, to_rgb
from gateway.dicom.drawing import render
from gateway.dicom.drawing.captures import CarriedObject, pictured
from gateway.dicom.drawing.layers import Key, Layer, layers
from gateway.dicom.drawing.marks import Mark, marks
from gateway.dicom.drawing.palettes import CATEGORICAL, Colour
from gateway.dicom.drawing.sheet import MAX_TILES, Tile, choose, contact_sheet, reduced
from gateway.dicom.reading.geometry import normal, pixel_spacing
from gateway.dicom.reading.instances import Instance, group_by_series, sort_spatially
from gateway.dicom.reading.redaction import naming
from gateway.errors import StudyRefused

SHEET = "contact_sheet.png"
BOX, LINE = CATEGORICAL[2], CATEGORICAL[1]
LONGEST_NAME = 48
"""Characters of a file's name that its picture's name repeats; file systems allow 255 bytes in all."""
Progress = Callable[[int, int], None]

COUNTED = {
    **{kind: mask.name for kind, mask in MASKS.items()},
    BoundingBox: "bounding box",
    LinearMeasurement: "linear measurement",
}
"""The names that the sheet's title uses for findings on images."""


def write_pictures(
    out: Path,
    instances: Sequence[Instance],
    findings: Sequence[Finding],
    objects: Sequence[CarriedObject] = (),
    *,
    labels: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Write the pictures of ``findings`` into ``out``; returns their paths, the contact sheet first.

    ``<index>_<file name>.png`` for each image, the index counting from 0 in its series, with all findings on it;
    ``labels`` adds the labels of study and series. ``objects`` are the DICOM objects of the answer: the masks of
    segmentations are laid over the study, other images have pictures of their own, named as their files are:
    ``sc_<n>.png``, or one for each of several frames. Raises StudyRefused for an image that cannot be decoded.
    """
    shown = [one for one in instances if one.frames]
    masks = [mask for each in objects for mask in each.masks]
    gallery = _Gallery(findings, layers([*findings, *masks]), marks(findings), labels)
    out.mkdir(parents=True, exist_ok=True)
    apart = [each for each in objects if not each.masks]
    captures = list(pictured(out, apart))
    silent = len(apart) - len({path.stem.partition("_frame")[0] for path, _ in captures})
    views = list(gallery.views(shown))
    listed = {view.name for view in choose(views, max(1, MAX_TILES - len(captures)))}
    tiles = list[Tile]()
    for count, (view, canvas) in enumerate(gallery.pictures(views), start=1):
        if view.name in listed:
            tiles.append(Tile(reduced(canvas.picture), _aspect(view.one), view.caption, view.found))
        gallery.add_text(view, canvas)
        canvas.picture.save(out / view.name, compress_level=1)
        if progress is not None:
            progress(count, len(views))
    tiles += [tile for _, tile in captures]
    title, subtitle = _title(findings, objects), _subtitle(views, captures, silent)
    contact_sheet(tiles, title, subtitle, gallery.legend()).save(out / SHEET)
    return [out / SHEET, *(out / view.name for view in views), *(path for path, _ in captures)]


@dataclass(frozen=True)
class _View:
    """An image to draw: its file, frame, index in its series, file name, ``found`` if it has findings, its series."""

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
    findings: Sequence[Finding]
    layers: list[Layer]
    marks: dict[Key, list[Mark]]
    labels: bool

    def views(self, instances: Sequence[Instance]) -> Iterator[_View]:
        """Yield the images in order, before any is decoded: memory then has no more pictures than the sheet shows."""
        names = set[str]()
        groups = group_by_series(instances)
        for number, series in enumerate(groups.values(), start=1):
            which = f"series {number}, " if len(groups) > 1 else ""
            for index, one in enumerate(sort_spatially(series)):
                for frame in range(one.frames):
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
                rgb = layer.blend(rgb, plane)
        canvas = render.Canvas(rgb)
        for mark in self.marks.get(key, []):
            draw, tint = (canvas.box, BOX) if mark.is_box else (canvas.line, LINE)
            draw(mark.start.tolist(), mark.end.tolist(), mark.text, tint)
        return canvas

    def add_text(self, view: _View, canvas: render.Canvas) -> None:
        """Write the legend and, if wanted, the labels of the study and of the image's series."""
        if self.labels:
            series = {None, view.one.series_instance_uid}
            canvas.write([line for uid, lines in self._labels() if uid in series for line in lines])
        canvas.legend(self.legend())

    def _labels(self) -> list[tuple[str | None, list[str]]]:
        """The series, None for the study, and the lines of each classification."""
        found = [one for one in self.findings if isinstance(one, Classification)]
        return [(None if one.of is None else one.of.series_instance_uid, _lines(one)) for one in found]

    def legend(self) -> list[tuple[str, Colour]]:
        """The names in the masks with their colours; for a heatmap the colour of its highest value."""
        entries = dict[str, Colour]()
        for layer in self.layers:
            entries |= {name: tint for name, tint in layer.legend.items() if name not in entries}
        return list(entries.items())


def _lines(found: Classification) -> list[str]:
    return [f"{name}: {value}" if name else str(value) for name, value in found.labels.items()]


def _file_name(one: Instance, index: int, frame: int) -> str:
    source = getattr(one.source, "name", "")  # a path and an open file have one; a file in memory may
    name = (isinstance(source, str) and Path(source).name) or one.sop_instance_uid
    safe = re.sub(r"[^\w.-]", "_", name).lstrip(".")[:LONGEST_NAME] or "image"
    return f"{index}_{safe}{f'_frame{frame}' if one.frames > 1 else ''}.png"


def _unique(name: str, names: set[str]) -> str:
    """Return a name that no other picture has, on file systems that ignore case too."""
    stem, number = name.removesuffix(".png"), 1
    while name.casefold() in names:
        number += 1
        name = f"{stem}_{number}.png"
    names.add(name.casefold())
    return name


def _aspect(one: Instance) -> float:
    """The height of a pixel divided by its width (PixelSpacing is rows first)."""
    try:
        rows, columns = pixel_spacing(one)
    except StudyRefused:
        return 1.0
    return float(rows / columns)


def _title(findings: Sequence[Finding], objects: Sequence[CarriedObject]) -> str:
    counts = Counter(COUNTED[type(one)] for one in findings if type(one) in MASKS)
    counts.update(each.kind.name for each in objects)
    counts.update(COUNTED[type(one)] for one in findings if type(one) in COUNTED and type(one) not in MASKS)
    texts = [
        f"{count} {kind}{'' if count == 1 else 'es' if kind.endswith('x') else 's'}" for kind, count in counts.items()
    ]
    return ", ".join(texts) or "No findings on images"


def _subtitle(views: Sequence[_View], captures: Sequence[tuple[Path, Tile]], silent: int) -> str:
    """The counts below the title; ``silent`` is the number of DICOM objects that are not drawn, such as reports."""
    series = len({view.one.series_instance_uid for view in views})
    found = sum(view.found for view in views) + len(captures)
    undrawn = f", {silent} DICOM object{'' if silent == 1 else 's'} not drawn" if silent else ""
    return f"{len(views) + len(captures)} images of {series} series, {found} with findings{undrawn}"
