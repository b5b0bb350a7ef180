"""Volume of a NIfTI file: voxels that were sent in place of DICOM files, seen as a DICOM series shows them.

A NIfTI file may count its voxels in any direction. A model learns from DICOM, whose volumes are never mirrored: so the
axes of a file are reversed, and turned round where need be, until columns run to the patient's left (or back), rows to
the back (or the feet), and slices along the normal of both. Nothing is resampled, and ``turned`` says which axes were
turned round, so that a mask finds its way back to the file's own grid.
"""

import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from gateway.contract.requests import MODALITY, reserve
from gateway.dicom.reading.classify import split
from gateway.dicom.reading.files import Source, opened
from gateway.dicom.reading.geometry import Affine
from gateway.dicom.reading.holes import head_of
from gateway.dicom.reading.instances import Instance
from gateway.dicom.reading.nifti_heads import nifti_kind
from gateway.dicom.reading.no_header import NoNiftiHeader
from gateway.dicom.reading.redaction import naming
from gateway.dicom.volumes.images import Array, Volume
from gateway.dicom.volumes.nifti_axes import Turns, tilt_of, turn
from gateway.dicom.volumes.nifti_data import PIECE, check_limits, read_voxels
from gateway.dicom.volumes.nifti_headers import NiftiHeader, read_nifti_header
from gateway.errors import StudyRefused

PLACE_FIELDS = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)
"""Fields of a header that say where voxels lie; those of text may name a patient."""


class NiftiVolume(Volume):
    """A NIfTI file as a Volume; ``affine`` and arrays are those of the turned axes, ``header`` states nothing.

    ``series_instance_uid`` is a UID made of the file's sha256 (PS3.5 B.2), the same for the same bytes.
    """

    _nifti: NiftiHeader
    _modality: str | None

    turned: Turns
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
            check_limits(nifti)
            affine, turned = turn(nifti.affine, nifti.shape)
            tilt, remarks = tilt_of(affine, slices, allow_tilt)
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
                self._loaded["view"] = read_voxels(file, nifti)[self._turns]
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


def turned_axes(files: Sequence[Source]) -> Turns:
    """Return which axes (slice, row, column) a volume of these files has turned round: of one NIfTI file alone.

    Raises StudyRefused.
    """
    if len(files) != 1 or not is_nifti_file(files[0]):
        return False, False, False
    with naming(files[0]):
        nifti = read_nifti_header(files[0])
        return turn(nifti.affine, nifti.shape)[1]


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
