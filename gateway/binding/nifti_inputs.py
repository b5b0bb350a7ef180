"""A request's NIfTI files -> the volumes of a model, where DICOM files are not what was sent.

A file says nothing of its modality: the sender states it in the member ``$modality`` of the request's JSON.
"""

from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO, Self

from gateway.binding.declaration import Declaration, Input
from gateway.binding.stated_series import StatedSeries
from gateway.contract.findings import Conformance
from gateway.contract.requests import JSON, MODALITY
from gateway.dicom.volumes.nifti_volumes import NiftiVolume, is_nifti_file
from gateway.dicom.volumes.study import Volume
from gateway.errors import ParameterRefused, StudyRefused
from gateway.protocol.faults import pointer

LONGEST_MODALITY = 16
"""Characters of a modality (CS, PS3.5 6.2)."""


class NiftiInputs:
    """The NIfTI files of one request that stand for volumes, in its order; none in a request of DICOM files."""

    def __init__(self, json: JSON, files: Sequence[BinaryIO]) -> None:
        """Raises ParameterRefused for a modality that is stated of no NIfTI file, or is no modality."""
        self.files = list(files)
        self._modality = _modality(json, self.files)

    @classmethod
    def among(cls, json: JSON, files: Iterable[BinaryIO]) -> Self:
        """Return those of ``files`` that are NIfTI. Raises as the class."""
        return cls(json, [file for file in files if is_nifti_file(file)])

    def assign(self, declaration: Declaration) -> dict[str, list[BinaryIO]]:
        """Return the files of each argument that they fill, by its name.

        Raises StudyRefused where it is not certain which argument a file is for.
        """
        volumes = [one for one in declaration.inputs if one.type is Volume]
        needed = [one for one in volumes if not one.optional] or volumes
        if not self.files:
            return {}
        if len(needed) > 1:
            names = ", ".join(one.name for one in needed)
            raise StudyRefused(
                f"This model takes several volumes ({names}), and a NIfTI file does not say which it is: send DICOM"
                " files.",
                private="several volumes",
            )
        if not needed[0].many and len(self.files) > 1:
            raise StudyRefused(
                f"This model takes one volume; the request holds {len(self.files)} NIfTI files. Send the one to use.",
                private="several NIfTI files",
            )
        return {needed[0].name: self.files}

    def volume(self, file: BinaryIO, declared: Input) -> tuple[NiftiVolume, list[Conformance]]:
        """Return a file as a Volume, and which recommended conditions hold. Raises StudyRefused, LimitExceeded."""
        found = NiftiVolume(file, self._modality, allow_tilt=declared.requires.allow_tilt)
        stated = StatedSeries("the NIfTI file", self._modality, len(found.frames), f"send {MODALITY} too")
        conformance = stated.conformance(declared.requires)
        return found, conformance + [Conformance(remark, False) for remark in found.remarks]


def _modality(json: JSON, files: Sequence[BinaryIO]) -> str | None:
    stated: Any = json.get(MODALITY)
    if stated in (None, ""):
        return None
    if not isinstance(stated, str) or not stated.isascii() or not 0 < len(stated) <= LONGEST_MODALITY:
        sentence = f"The modality should be text of 1 to {LONGEST_MODALITY} ASCII characters, such as CT."
        raise ParameterRefused([(pointer((MODALITY,)), sentence)])
    if not files:
        sentence = "It is stated of NIfTI files alone, and the request has none that is a volume."
        raise ParameterRefused([(pointer((MODALITY,)), sentence)])
    return stated
