"""A label map as a file, in the form that its extension names."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gateway.representations.label_maps import LabelMap
from gateway.representations.nrrd_files import nrrd_file, segmentation_file

MEDIA_TYPE = "application/octet-stream"


class FileOptions(NamedTuple):
    """Options of a file: compressed, where its form leaves that open, and regions that cover those before them."""

    compress: bool = False
    covers: bool = False


Write = Callable[[LabelMap, FileOptions], bytes]


def _nrrd(labels: LabelMap, options: FileOptions) -> bytes:
    return nrrd_file(labels.array(covers=options.covers), labels.affine, compress=options.compress)


def _segmentation(labels: LabelMap, options: FileOptions) -> bytes:
    return segmentation_file(labels.layers(), labels.affine, compress=options.compress)


WRITERS: Mapping[str, Write] = {".nrrd": _nrrd, ".seg.nrrd": _segmentation}
"""The forms by the extension of their files."""


def label_file(labels: LabelMap, extension: str, options: FileOptions) -> bytes:
    """Return a label map as a file of the ``extension``.

    Raises NotAcceptable for regions that overlap, where the form holds one label map.
    """
    return WRITERS[extension](labels, options)
