"""A label map as a file, in the form that its extension names, on the grid of what was sent."""

import gzip
from collections.abc import Callable, Mapping
from typing import NamedTuple

from gateway.dicom.volumes.nifti import encode_nifti
from gateway.representations.label_maps import LabelMap
from gateway.representations.nifti_masks import comment_of
from gateway.representations.nrrd_files import nrrd_file, segmentation_file

MEDIA_TYPE = "application/octet-stream"


class FileOptions(NamedTuple):
    """Options of a file: compressed, where its form leaves that open, and regions that cover those before them."""

    compress: bool = False
    covers: bool = False


Write = Callable[[LabelMap, FileOptions], bytes]


def _nrrd(labels: LabelMap, options: FileOptions) -> bytes:
    values, affine = labels.as_sent(labels.array(covers=options.covers))
    return nrrd_file(values, affine, compress=options.compress)


def _segmentation(labels: LabelMap, options: FileOptions) -> bytes:
    layers = [(labels.as_sent(values), names) for values, names in labels.layers()]
    affine = layers[0][0][1]
    return segmentation_file([(values, names) for (values, _), names in layers], affine, compress=options.compress)


def _packed_nifti(labels: LabelMap, options: FileOptions) -> bytes:
    comment = comment_of({value: name for name, value in labels.names.items()})
    return encode_nifti(labels.array(covers=options.covers), labels.place, comment)


def _nifti(labels: LabelMap, options: FileOptions) -> bytes:
    return gzip.decompress(_packed_nifti(labels, options))


WRITERS: Mapping[str, Write] = {
    ".nrrd": _nrrd,
    ".seg.nrrd": _segmentation,
    ".nii.gz": _packed_nifti,
    ".nii": _nifti,
}
"""The forms by the extension of their files."""


def label_file(labels: LabelMap, extension: str, options: FileOptions) -> bytes:
    """Return a label map as a file of the ``extension``.

    Raises NotAcceptable for regions that overlap, where the form holds one label map.
    """
    return WRITERS[extension](labels, options)
