"""DICOM series <-> NIfTI, for models that speak NIfTI. Needs nibabel, the extra ``nifti``."""

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gateway.dicom.decoding.pixels import decode
from gateway.dicom.decoding.windows import rescale
from gateway.dicom.reading import mosaic
from gateway.dicom.reading.attributes import unreadable
from gateway.dicom.reading.geometry import Affine, affine, flip_lps_ras
from gateway.dicom.reading.instances import Instance, group_by_series, read_instance, read_study, sort_spatially
from gateway.dicom.reading.nifti_heads import LARGEST_HEADER
from gateway.dicom.reading.raw_values import distinct
from gateway.dicom.reading.redaction import naming
from gateway.dicom.volumes import belonging, rescaling
from gateway.dicom.volumes.images import Image, Volume, volume
from gateway.dicom.volumes.nifti_library import nibabel
from gateway.dicom.volumes.nifti_volumes import NiftiVolume
from gateway.dicom.volumes.uniformity import KINDS
from gateway.errors import StudyRefused

ARTERYS_PROBABILITY_MASK = "probability_mask"
ARTERYS_BINARY = "binary"
ARTERYS_MULTI_CLASS = "multi_class"

Array = NDArray[np.generic]

_SCANNER = 1
"""NIfTI's code for an affine that leads to the scanner's coordinates, as the one of a DICOM series does."""


_LEVEL = 1
"""gzip's fastest level: masks are simple."""


def convert_to_nifti(dicom_files: str | Path | Iterable[Path | BinaryIO], output_file: str | Path) -> None:
    """Write one series as NIfTI: (column, row, slice (, time)) with its affine to RAS mm, values rescaled.

    ``dicom_files`` is a folder or a sequence of files, in any order. Values are int16 where rescaled values are whole
    and fit, else float32. Raises StudyRefused for several series, colour, several frames, or slices that are not an
    even stack; ImportError without nibabel.
    """
    nibabel()  # before the work rather than after it
    ordered = sort_spatially(_one_series(dicom_files))
    times = [[image for image in ordered if image.time_point == t] for t in range(ordered[-1].time_point + 1)]
    matrix = affine(times[0])
    if len(times) > 1:
        _refuse_kinds(ordered)
    for one_time in times[1:]:
        if not np.allclose(affine(one_time), matrix, atol=0.01):
            raise StudyRefused(
                "The time points of the series do not lie at the same place (ImagePositionPatient): convert each.",
                private="time points apart",
            )
    volume = _smallest(np.stack([_volume(one_time) for one_time in times]))
    write_nifti(volume[0] if len(times) == 1 else volume, matrix, output_file)


def write_nifti(array: NDArray[Any], matrix: Affine, output_file: str | Path) -> None:
    """Write ((time,) slice, row, column) as (column, row, slice (, time)); ``matrix`` is the affine to LPS mm.

    Raises ImportError without nibabel.
    """
    nibabel().save(_image(array, matrix), output_file)


def encode_nifti(array: NDArray[Any], of: Volume | Image, comment: str = "") -> bytes:
    """Return a mask (slice, row, column) on ``of`` as a ``.nii.gz`` file, with a comment in its header.

    On a NIfTI file the mask has the file's own grid, sform and qform; nothing else of its header. Raises ImportError
    without nibabel.
    """
    if isinstance(of, NiftiVolume):
        fields = of.place_fields()
        kind = nibabel().Nifti2Image if fields["sizeof_hdr"] == LARGEST_HEADER else nibabel().Nifti1Image
        fields.set_data_dtype(array.dtype)
        image = kind(of.as_in_file(array).T, None, fields)
    else:
        assert of.affine is not None  # the caller has one
        image = _image(array, of.affine)
    if comment:
        extension = nibabel().nifti1.Nifti1Extension("comment", comment.encode())
        image.header.extensions.append(extension)
    return gzip.compress(image.to_bytes(), _LEVEL, mtime=0)


def encode_series(dicom_files: Iterable[BinaryIO]) -> bytes:
    """Return the one series of images among files as a ``.nii.gz`` file, its values as ``convert_to_nifti`` has them.

    Raises StudyRefused for images that are no volume, LimitExceeded, ImportError without nibabel.
    """
    nibabel()  # before the work rather than after it
    images, _ = belonging.images_among([read_instance(source) for source in dicom_files])
    found = volume(images, allow_tilt=True)
    return encode_nifti(_smallest(found.array), found)


def _image(array: NDArray[Any], matrix: Affine) -> Any:
    ras = flip_lps_ras(matrix)[:, [2, 1, 0, 3]]
    image = nibabel().Nifti1Image(array.T, ras)
    image.header.set_xyzt_units("mm")
    image.set_sform(ras, _SCANNER)
    image.set_qform(ras, _SCANNER if _is_rigid(ras) else 0)
    return image


def _one_series(dicom_files: str | Path | Iterable[Path | BinaryIO]) -> list[Instance]:
    """The images of the one series that has some; what is beside them is left out."""
    if isinstance(dicom_files, str | Path):
        instances = read_study(Path(dicom_files))
    else:
        instances = [read_instance(source) for source in dicom_files]
    images, _ = belonging.images_among(instances)
    if (count := len(group_by_series(images))) != 1:
        raise StudyRefused(
            f"A NIfTI file holds one series; here are {count} with images (SeriesInstanceUID): convert each by itself.",
            private="several series" if count else "no images",
        )
    for image in images:
        if image.frames > 1:
            with naming(image.source):
                raise unreadable("NumberOfFrames", "is more than one, which cannot be converted to NIfTI")
    mosaic.refuse(images)
    belonging.check(images)
    if distinct((image.header for image in images), "FrameOfReferenceUID") > 1:
        raise StudyRefused(
            "The images belong to several frames of reference (FrameOfReferenceUID), so that their places cannot be"
            " compared: convert those of each by themselves.",
            private="several frames of reference",
        )
    rescaling.check([(image, 0) for image in images])
    return images


def _refuse_kinds(images: list[Instance]) -> None:
    """Refuse images at one position that are no time points: echoes, magnitude and phase, diffusion and its map."""
    for keyword, kind in KINDS.items():
        if distinct((image.header for image in images), keyword) > 1:
            raise StudyRefused(
                f"The images at one position differ in {keyword} ({kind}), so that they are no time points."
                " Convert those of each value by themselves.",
                private=f"several values of {keyword}",
            )


def _volume(instances: list[Instance]) -> NDArray[np.float32]:
    """(slice, row, column), rescaled."""
    return np.stack([_rescaled(one) for one in instances])


def _rescaled(instance: Instance) -> NDArray[np.float32]:
    with naming(instance.source):
        stored = decode(instance.source)
        if stored.ndim != 2:
            raise unreadable("PhotometricInterpretation", "is that of colour, which cannot be converted to NIfTI")
        return rescale(instance.header, stored).astype(np.float32)


def _smallest(volume: NDArray[np.float32]) -> NDArray[np.int16] | NDArray[np.float32]:
    """The array as int16 if nothing is lost."""
    if np.abs(volume).max() > np.iinfo(np.int16).max or not np.isfinite(volume).all():
        return volume
    integers = volume.astype(np.int16)
    return integers if np.array_equal(integers, volume) else volume


def _is_rigid(matrix: NDArray[np.float64]) -> bool:
    """Return True if the axes are perpendicular, which a qform needs; the slices of a tilted gantry are not."""
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() < 1e-4)


def load_nifti_file(nifti_file: str | Path) -> Array:
    """The content of a NIfTI file as ((time,) slice, row, column), C order: the file's axes reversed, not reoriented.

    The dtype is that of the file, or float64 where it states a scale. Raises ImportError without nibabel, and
    nibabel's ImageFileError or FileNotFoundError.
    """
    image = nibabel().load(nifti_file)
    return np.ascontiguousarray(np.asanyarray(image.dataobj).T)


def get_masks_from_nifti_file(
    nifti_file: str | Path, data_type: str = ARTERYS_PROBABILITY_MASK, num_classes: int = 3
) -> list[Array] | Array:
    """Read a uint8 NIfTI file as masks that a viewer takes, each uint8 (slice, row, column).

    ``probability_mask``: one mask as it is, in a list. ``binary``: one mask of 0 and 255, in a list. ``multi_class``:
    an array (num_classes, slice, row, column) of 0 and 255, label 1 first, background left out. Raises ValueError for
    another dtype or ``data_type``.
    """
    array = load_nifti_file(nifti_file)
    if array.dtype != np.uint8:
        raise ValueError(
            f"masks are uint8, this file holds {array.dtype}: before saving, convert a probability p by "
            "(p * 255).round() and either kind with .astype(numpy.uint8)"
        )
    if data_type == ARTERYS_PROBABILITY_MASK:
        return [array]
    if data_type == ARTERYS_BINARY:
        return [_as_mask(array != 0)]
    if data_type == ARTERYS_MULTI_CLASS:
        return np.stack([_as_mask(array == label) for label in range(1, num_classes + 1)])
    raise ValueError(f"data_type is 'probability_mask', 'binary' or 'multi_class', not {data_type!r}")


def _as_mask(chosen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return chosen.astype(np.uint8) * np.uint8(255)
