"""A label map as a file, in the form that its extension names."""

from collections.abc import Callable, Mapping

from gateway.representations.label_maps import LabelMap
from gateway.representations.nrrd_files import nrrd_file, segmentation_file

Write = Callable[[LabelMap, bool], bytes]
"""Returns the file; with True its voxels are compressed, where the form leaves that open. Raises NotAcceptable."""


def _nrrd(labels: LabelMap, compress: bool) -> bytes:
    return nrrd_file(labels.array(), labels.affine, compress=compress)


def _segmentation(labels: LabelMap, compress: bool) -> bytes:
    return segmentation_file(labels.layers(), labels.affine, compress=compress)


WRITERS: Mapping[str, Write] = {".nrrd": _nrrd, ".seg.nrrd": _segmentation}
"""The forms by the extension of their files."""
MEDIA_TYPE = "application/octet-stream"


def label_file(labels: LabelMap, extension: str, *, compress: bool = False) -> bytes:
    """Return a label map as a file of the ``extension``.

    Raises NotAcceptable for regions that overlap, where the form holds one label map.
    """
    return WRITERS[extension](labels, compress)
