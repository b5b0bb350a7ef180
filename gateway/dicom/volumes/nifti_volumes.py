"""Volume of a NIfTI file: voxels that were sent in place of DICOM files, seen as a DICOM series shows them.

A NIfTI file may count its voxels in any direction. A model learns from DICOM, whose volumes are never mirrored: so the
axes of a file are reversed, and turned round where need be, until columns run to the patient's left (or back), rows to
the back (or the feet), and slices along the normal of both. Nothing is resampled, and ``turned`` says which axes were
turned round, so that a mask finds its way back to the file's own grid.
"""

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from gateway.contract.requests import MODALITY, reserve, stop_if_cancelled
from gateway.dicom.decoding.loading import MAX_VOLUME_BYTES
from gateway.dicom.reading.classify import split
from gateway.dicom.reading.files import Source, opened
from gateway.dicom.reading.geometry import Affine, spacing
from gateway.dicom.reading.holes import head_of
from gateway.dicom.reading.instances import MAX_FRAMES, Instance
from gateway.dicom.reading.nifti_heads import nifti_kind
from gateway.dicom.reading.no_header import NoNiftiHeader
from gateway.dicom.reading.redaction import naming
from gateway.dicom.volumes.images import Array, Volume
from gateway.dicom.volumes.nifti_headers import NiftiHeader, is_packed, read_nifti_header
from gateway.dicom.volumes.stack import MAX_SHIFT_PIXELS
from gateway.errors import LimitExceeded, StudyRefused

PIECE = 1 << 20
"""Bytes that are unpacked at once."""
PLACE_FIELDS = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)
"""Fields of a header that say where voxels lie; those of text may name a patient."""
_ONWARD = np.array([1, 1, -1])
"""The directions in which rows and columns run in DICOM's standard views: left, back and feet."""


class NiftiVolume(Volume):
    """A NIfTI file as a Volume; ``affine`` and arrays are those of the turned axes, ``header`` states nothing.

    ``series_instance_uid`` is a UID made of the file's sha256 (PS3.5 B.2), the same for the same bytes.
    """

    _nifti: NiftiHeader
    _modality: str | None

    turned: tuple[bool, bool, bool]
    """Which of the axes (slice, row, column) run against those of the file."""

    def __init__(
        self, file: Source, modality: str | None = None, *, allow_tilt: bool = False, known_uid: str = ""
    ) -> None:
        """Read the header of a file; ``modality`` is what its sender states, ``known_uid`` the UID of its bytes.

        Raises StudyRefused for what cannot be read for certain or is tilted without ``allow_tilt``, LimitExceeded.
        """
        with naming(file):
            nifti = read_nifti_header(file)
            slices, rows, columns = nifti.shape
            _limit(nifti)
            affine, turned = _turn(nifti.affine, nifti.shape)
            tilt, remarks = _tilt(affine, slices, allow_tilt)
        uid = known_uid or uid_of(file)
        instance = Instance(file, NoNiftiHeader(), uid, uid, None, None, None, rows, columns, slices)
        members = {
            "frames": tuple((instance, number) for number in range(slices)),
            "affine": affine,
            "tilt": tilt,
            "remarks": (*nifti.remarks, *remarks),
            "turned": turned,
            "_loaded": {},
            "_nifti": nifti,
            "_modality": modality,
        }
        for name, value in members.items():
            object.__setattr__(self, name, value)  # the dataclass is frozen

    @property
    def modality(self) -> str:
        """As stated. Raises StudyRefused where it is not."""
        if self._modality is None:
            raise StudyRefused(
                f'The model needs the modality, which a NIfTI file does not state: send "{MODALITY}" too, such as CT.',
                private="no modality of a NIfTI file",
            )
        return self._modality

    @property
    def array(self) -> NDArray[np.float32]:
        """(slice, row, column) float32, rescaled by scl_slope and scl_inter; read-only where it is the sent bytes.

        Raises StudyRefused for values that are not finite, and as ``stored``.
        """
        values: NDArray[np.float32] = self._once("array", self._values)
        return values

    @property
    def stored(self) -> Array:
        """(slice, row, column), as stored in the file.

        Raises StudyRefused for a file that ends early, goes on or is badly packed; LimitExceeded.
        """
        return self._once("stored", self._as_stored)

    def as_in_file(self, array: Array) -> Array:
        """Return an array (slice, row, column) on this volume with its axes as they run in the file: a view."""
        return array[self._turns]

    @property
    def file_affine(self) -> Affine:
        """The affine of the file's own axes: (slice, row, column, 1) as they run in it -> (x, y, z, 1) mm LPS."""
        return self._nifti.affine

    def place_fields(self) -> Any:
        """Return a header of nibabel that has the size and the place of the file's voxels, and nothing else of it."""
        fields = type(self._nifti.fields)()
        for name in PLACE_FIELDS:
            fields[name] = self._nifti.fields[name]
        return fields

    def __repr__(self) -> str:
        return f"<Volume {self.shape} of NIfTI>"

    @property
    def _turns(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if turned else 1) for turned in self.turned)

    @property
    def _file(self) -> Source:
        return self.frames[0][0].source

    def _view(self) -> Array:
        """The voxels on the bytes of the file, or on what these unpack to; read once."""
        if "view" not in self._loaded:
            nifti, file = self._nifti, self._file
            with naming(file):
                data = _unpacked(file, nifti) if is_packed(file) else _plain(file, nifti)
            found = np.frombuffer(data, nifti.dtype, offset=nifti.offset).reshape(nifti.shape)
            self._loaded["view"] = found[self._turns]
        return self._loaded["view"]

    def _as_stored(self) -> Array:
        found = self._view()
        native = found.dtype.newbyteorder("=")
        if found.flags.c_contiguous and found.dtype == native:
            return found
        reserve(found.nbytes)
        return np.ascontiguousarray(found, native)

    def _values(self) -> NDArray[np.float32]:
        nifti, found = self._nifti, self._view()
        values: NDArray[np.float32]
        if found.dtype == np.float32 and found.flags.c_contiguous and not nifti.is_scaled:
            values = found
        else:
            reserve(4 * found.size)
            values = np.empty(found.shape, np.float32)
            with np.errstate(all="ignore"):  # what overflows is refused below
                for into, plane in zip(values, found, strict=True):
                    into[...] = plane * np.float64(nifti.slope) + np.float64(nifti.inter) if nifti.is_scaled else plane
        if found.dtype.kind == "f" or nifti.is_scaled:
            self._check_finite(values)
        return values

    def _check_finite(self, values: NDArray[np.float32]) -> None:
        if not all(np.isfinite(plane).all() for plane in values):
            with naming(self._file):
                raise StudyRefused(
                    "A NIfTI file has voxels that are no numbers (NaN) or beyond all float32: give them a value, such"
                    " as by numpy.nan_to_num.",
                    private="values that are not finite",
                )


def is_nifti(instance: Instance) -> bool:
    """Return True if an instance stands for a NIfTI file, as that of a NiftiVolume does."""
    return isinstance(instance.header, NoNiftiHeader)


def images_of(files: Sequence[Source]) -> list[Instance]:
    """Return the images of a request: its DICOM instances, else its NIfTI files, each once as its volume's instance.

    Raises StudyRefused, LimitExceeded.
    """
    instances, others = split(files)
    volumes = [nifti_instance(file) for file in others if not instances and is_nifti_file(file)]
    return instances or list({one.series_instance_uid: one for one in volumes}.values())


def turned_axes(files: Sequence[Source]) -> tuple[bool, bool, bool]:
    """Return which axes (slice, row, column) a volume of these files has turned round: of one NIfTI file alone.

    Raises StudyRefused.
    """
    if len(files) != 1 or not is_nifti_file(files[0]):
        return False, False, False
    with naming(files[0]):
        nifti = read_nifti_header(files[0])
        return _turn(nifti.affine, nifti.shape)[1]


def is_nifti_file(file: Source) -> bool:
    """Return True if a file is NIfTI, or the header of a pair, by its first bytes."""
    with opened(file) as source:
        return nifti_kind(head_of(source)) is not None


def nifti_instance(file: Source) -> Instance:
    """Return the instance that stands for a NIfTI file. Raises StudyRefused, LimitExceeded."""
    return NiftiVolume(file, allow_tilt=True).frames[0][0]


def volume_of(instance: Instance) -> NiftiVolume:
    """Return the volume that an instance stands for, sheared or not."""
    return NiftiVolume(instance.source, allow_tilt=True, known_uid=instance.series_instance_uid)


def uid_of(file: Source) -> str:
    """Return a UID for a file, from the sha256 of its bytes (PS3.5 B.2)."""
    digest = hashlib.sha256()
    with opened(file) as source:
        while piece := source.read(PIECE):
            digest.update(piece)
    return f"2.25.{UUID(bytes=digest.digest()[:16], version=5).int}"


def _limit(nifti: NiftiHeader) -> None:
    slices, rows, columns = nifti.shape
    if slices > MAX_FRAMES:
        raise LimitExceeded("MAX_FRAMES", MAX_FRAMES, "slices", what="A NIfTI file")
    if max(nifti.nbytes, 4 * slices * rows * columns) > MAX_VOLUME_BYTES:
        raise LimitExceeded("MAX_VOLUME_BYTES", MAX_VOLUME_BYTES, what="A volume")


def _turn(affine: Affine, shape: tuple[int, int, int]) -> tuple[Affine, tuple[bool, bool, bool]]:
    """Turn axes round until they run as those of DICOM; return the affine of the turned axes, and which they are."""
    main = np.abs(affine[:3, 1:3]).argmax(axis=0)
    rows, columns = (affine[main[axis], axis + 1] * _ONWARD[main[axis]] < 0 for axis in (0, 1))
    mirrored = np.linalg.det(affine[:3, :3]) > 0
    turned = bool(mirrored ^ rows ^ columns), bool(rows), bool(columns)
    found = affine.copy()
    for axis, length in enumerate(shape):
        if turned[axis]:
            found[:3, 3] += affine[:3, axis] * (length - 1)
            found[:3, axis] *= -1
    return found, turned


def _tilt(affine: Affine, slices: int, allowed: bool) -> tuple[float, tuple[str, ...]]:
    """Return the angle in degrees between the normal and the way from slice to slice, and a remark on it."""
    across = np.cross(affine[:3, 2], affine[:3, 1])
    height = float(affine[:3, 0] @ across / np.linalg.norm(across))
    aside = float(np.linalg.norm(affine[:3, 0] - across / np.linalg.norm(across) * height))
    tilt = float(np.degrees(np.arctan2(aside, abs(height))))
    if aside * (slices - 1) <= MAX_SHIFT_PIXELS * spacing(affine)[1:].min():
        return tilt, ()
    if not allowed:
        raise StudyRefused(
            f"The slices of a NIfTI file are sheared by {tilt:.1f} degrees, as of a tilted gantry. This model needs"
            " upright ones: resample the file.",
            private="sheared slices",
        )
    return tilt, (f"The slices are sheared by {tilt:.1f} degrees, as the affine says.",)


def _plain(file: Source, nifti: NiftiHeader) -> Any:
    """The bytes of a file that is not packed, without a copy where they lie in memory."""
    getbuffer = getattr(file, "getbuffer", None)
    with opened(file) as source:
        data = memoryview(source.read() if getbuffer is None else getbuffer()).toreadonly()
    _check_size(len(data), nifti)
    return data


def _unpacked(file: Source, nifti: NiftiHeader) -> NDArray[np.uint8]:
    """What a gzip file unpacks to, of the size that its header states; that is reserved before it is unpacked."""
    size = nifti.offset + nifti.nbytes
    reserve(size)
    found, count = np.empty(size, np.uint8), 0
    try:
        with opened(file) as source, gzip.GzipFile(fileobj=source) as packed:
            while piece := packed.readinto(found.data[count : count + PIECE]):
                count += piece
                stop_if_cancelled()
            more = len(packed.read(1))  # which checks the CRC of the whole, too
    except (OSError, EOFError, zlib.error) as error:
        raise StudyRefused(
            "A NIfTI file is badly packed by gzip or ends early: pack and send it again.", private=type(error).__name__
        ) from error
    _check_size(count + more, nifti)
    found.flags.writeable = False
    return found


def _check_size(size: int, nifti: NiftiHeader) -> None:
    stated = nifti.offset + nifti.nbytes
    if size != stated:
        fault = "ends before all its voxels" if size < stated else "goes on after its last voxel"
        raise StudyRefused(
            f"A NIfTI file {fault}: its header states {stated} bytes (dim, bitpix and vox_offset). Write it again.",
            private="a NIfTI file of another size",
        )
