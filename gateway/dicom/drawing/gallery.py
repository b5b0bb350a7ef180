"""Findings laid over their study: a PNG for each image, and one contact sheet."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from PIL import Image

from gateway.contract.findings import MASKS, BoundingBox, Classification, Finding, LinearMeasurement
from gateway.dicom.decoding.pixels import decode, to_rgb
from gateway.dicom.drawing import render
from gateway.dicom.drawing.captures import CarriedObject, pictured
from gateway.dicom.drawing.layers import Key, Layer, blend, layers
from gateway.dicom.drawing.marks import Mark, marks
from gateway.dicom.drawing.nifti_pictures import NiftiPictures
from gateway.dicom.drawing.palettes import CATEGORICAL
from gateway.dicom.drawing.sheet import MAX_TILES, Heading, Tile, choose, contact_sheet, reduced, tile_size
from gateway.dicom.reading.geometry import normal, pixel_spacing
from gateway.dicom.reading.instances import Instance, group_by_series, sort_spatially
from gateway.dicom.reading.redaction import naming
from gateway.dicom.volumes.nifti_volumes import is_nifti, volume_of
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
    origin: str = "",
    *,
    labels: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Write the pictures of ``findings`` into ``out``; returns their paths, the contact sheet first.

    ``<index>_<file name>.png`` for each image, the index counting from 0 in its series, with all findings on it, and
    ``<series>-`` before it where there are several, so that the names sort;
    ``labels`` adds the labels of study and series. ``objects`` are the DICOM objects of the answer: the masks of
    segmentations are laid over the study, other images have pictures of their own, named as their files are:
    ``sc_<n>.png``, or one for each of several frames. ``origin`` is a line on the sheet
    about the model. Raises StudyRefused for an image that cannot be decoded.
    """
    out.mkdir(parents=True, exist_ok=True)
    sheet, paths = _draw(out, instances, findings, objects, origin, labels, progress)
    sheet.save(out / SHEET)
    return [out / SHEET, *paths]


def draw_sheet(
    instances: Sequence[Instance], findings: Sequence[Finding], objects: Sequence[CarriedObject] = (), origin: str = ""
) -> Image.Image:
    """Return the contact sheet alone; arguments and errors are those of ``write_pictures``."""
    return _draw(None, instances, findings, objects, origin, False, None)[0]


def _draw(
    out: Path | None,
    instances: Sequence[Instance],
    findings: Sequence[Finding],
    objects: Sequence[CarriedObject],
    origin: str,
    labels: bool,
    progress: Progress | None,
) -> tuple[Image.Image, list[Path]]:
    """The contact sheet, and the paths of the other pictures; without ``out`` only the images on the sheet are read."""
    shown = [one for one in instances if one.frames]
    masks = [mask for each in objects for mask in each.masks]
    gallery = _Gallery(findings, layers([*findings, *masks]), marks(findings), labels)
    apart = [each for each in objects if not each.masks]
    captures = list(pictured(out, apart))
    views = list(gallery.views(shown))
    listed = {view.name for view in choose(views, max(1, MAX_TILES - len(captures)))}
    side, tiles = tile_size(len(listed) + len(captures)), list[Tile]()
    drawn = views if out is not None else [view for view in views if view.name in listed]
    for count, (view, rgb) in enumerate(gallery.pictures(drawn), start=1):
        if view.name in listed:
            tiles.append(Tile(gallery.tile(view, rgb, side), _aspect(view.one), view.caption, view.found))
        if out is not None:
            gallery.picture(view, rgb).save(out / view.name, compress_level=1)
        if progress is not None:
            progress(count, len(views))
    tiles += [tile for _, tile in captures]
    silent = len(apart) - len({path.stem.partition("_frame")[0] for path, _ in captures})
    subtitle = _subtitle(views, len(captures), silent, len(tiles))
    heading = Heading(_title(findings, objects), subtitle, gallery.all_labels(views), gallery.legend(), origin)
    paths = [] if out is None else [*(out / view.name for view in views), *(path for path, _ in captures)]
    return contact_sheet(tiles, heading), paths


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
        digits = _digits(max(map(len, groups.values()), default=0))
        for number, series in enumerate(groups.values(), start=1):
            which = f"series {number}, " if len(groups) > 1 else ""
            order = f"{number:0{_digits(len(groups) + 1)}}-" if len(groups) > 1 else ""
            for index, one in enumerate(sort_spatially(series)):
                for frame in range(one.frames):
                    name = _unique(f"{order}{index:0{digits}}_{_file_name(one, frame)}", names)
                    yield _View(one, frame, index, name, self._found((one.source, frame)), which)

    def pictures(self, views: Sequence[_View]) -> Iterator[tuple[_View, render.RGB]]:
        """Yield the pixels of each view with its masks on them."""
        for one, group in groupby(views, key=lambda view: view.one):
            for view, rgb in _nifti(one, group) if is_nifti(one) else _decoded(one, group):
                yield view, blend(rgb, self.layers, view.key)

    def tile(self, view: _View, rgb: render.RGB, side: int) -> Image.Image:
        """Return a picture for the sheet, where it is ``side`` pixels long: its legend stands above the tiles."""
        return reduced(self._marked(view, render.Canvas(rgb, side)).picture)

    def picture(self, view: _View, rgb: render.RGB) -> Image.Image:
        """Return a picture of its own, with the legend and, if wanted, the labels of the study and the series."""
        canvas = self._marked(view, render.Canvas(rgb))
        if self.labels:
            series = {None, view.one.series_instance_uid}
            canvas.write([line for uid, lines in self._labels() if uid in series for line in lines])
        canvas.legend(self.legend())
        return canvas.picture

    def _found(self, key: Key) -> bool:
        planes = ((layer, layer.at(key)) for layer in self.layers)
        return key in self.marks or any(plane is not None and layer.region(plane).any() for layer, plane in planes)

    def _marked(self, view: _View, canvas: render.Canvas) -> render.Canvas:
        for mark in self.marks.get(view.key, []):
            draw, tint = (canvas.box, BOX) if mark.is_box else (canvas.line, LINE)
            draw(mark.start.tolist(), mark.end.tolist(), mark.text, tint)
        return canvas

    def all_labels(self, views: Sequence[_View]) -> list[str]:
        """The lines of all classifications, those of a series behind its name."""
        names = {view.one.series_instance_uid: view.series for view in views}
        return [f"{names.get(uid or '', '')}{line}" for uid, lines in self._labels() for line in lines]

    def _labels(self) -> list[tuple[str | None, list[str]]]:
        """The series, None for the study, and the lines of each classification."""
        found = [one for one in self.findings if isinstance(one, Classification)]
        return [(None if one.of is None else one.of.series_instance_uid, _lines(one)) for one in found]

    def legend(self) -> list[tuple[str, render.Swatch]]:
        """The names in the masks with their colours; for a heatmap its palette."""
        entries = dict[str, render.Swatch]()
        for layer in self.layers:
            entries |= {name: tint for name, tint in layer.legend.items() if name not in entries}
        return list(entries.items())


def _decoded(one: Instance, views: Iterable[_View]) -> Iterator[tuple[_View, render.RGB]]:
    pixels = decode(one.source)
    for view in views:
        with naming(one.source):
            yield view, to_rgb(one.header, pixels[view.frame] if one.frames > 1 else pixels, view.frame)


def _nifti(one: Instance, views: Iterable[_View]) -> Iterator[tuple[_View, render.RGB]]:
    pictures = NiftiPictures(one)
    for view in views:
        yield view, pictures.rgb(view.frame)


def _lines(found: Classification) -> list[str]:
    return [f"{name}: {value}" if name else str(value) for name, value in found.labels.items()]


def _digits(count: int) -> int:
    """The digits of the numbers below ``count``, so that names sort."""
    return len(str(max(0, count - 1)))


def _file_name(one: Instance, frame: int) -> str:
    source = getattr(one.source, "name", "")  # a path and an open file have one; a file in memory may
    name = (isinstance(source, str) and Path(source).name) or one.sop_instance_uid
    safe = re.sub(r"[^\w.-]", "_", name).lstrip(".")[:LONGEST_NAME] or "image"
    return f"{safe}{f'_frame{frame:0{_digits(one.frames)}}' if one.frames > 1 else ''}.png"


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
        rows, columns = volume_of(one).spacing[1:] if is_nifti(one) else pixel_spacing(one)
    except StudyRefused:
        return 1.0
    return float(rows / columns)


def _title(findings: Sequence[Finding], objects: Sequence[CarriedObject]) -> str:
    counts = Counter(COUNTED[type(one)] for one in findings if type(one) in MASKS)
    counts.update(each.kind.name for each in objects)
    counts.update(COUNTED[type(one)] for one in findings if type(one) in COUNTED and type(one) not in MASKS)
    labels = sum(len(one.labels) for one in findings if isinstance(one, Classification))
    counts.update({"label": labels} if labels else {})
    return ", ".join(_counted(count, kind) for kind, count in counts.items()) or "No findings on images"


def _counted(count: int, kind: str) -> str:
    return f"{count} {kind}{'' if count == 1 else 'es' if kind.endswith('x') else 's'}"


def _subtitle(views: Sequence[_View], captures: int, silent: int, drawn: int) -> str:
    """The counts below the title: images, pictures of the answer, DICOM objects without one, and tiles drawn."""
    series, found = len({view.one.series_instance_uid for view in views}), sum(view.found for view in views)
    texts = [f"{_counted(len(views), 'image')} of {series} series", *([f"{found} with findings"] if found else [])]
    texts += [f"{_counted(captures, 'picture')} of the answer"] if captures else []
    texts += [f"{_counted(silent, 'DICOM object')} without a picture"] if silent else []
    return ", ".join([*texts, *([f"{drawn} drawn here"] if drawn < len(views) + captures else [])])
