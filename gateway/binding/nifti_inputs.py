"""A request's NIfTI files -> the volumes of a model, where DICOM files are not what was sent.

A file says nothing of its modality, nor of the argument that it is for: the sender states these in the members
``$modality`` and ``$volumes`` of the request's JSON.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO, Self

from gateway.binding.declaration import Declaration, Input
from gateway.binding.stated_series import StatedSeries
from gateway.contract.findings import Conformance
from gateway.contract.requests import JSON, LONGEST_MODALITY, MODALITY, VOLUMES
from gateway.dicom.volumes.nifti_volumes import NiftiVolume, is_nifti_file
from gateway.dicom.volumes.study import Volume
from gateway.errors import ParameterRefused, StudyRefused
from gateway.protocol.faults import pointer


class NiftiInputs:
    """The NIfTI files of one request that stand for volumes, in its order; none in a request of DICOM files."""

    def __init__(self, json: JSON, files: Sequence[BinaryIO]) -> None:
        """Raises ParameterRefused for statements that are malformed, or a modality that is stated of no NIfTI file."""
        self.files = list(files)
        self._modality = _modality(json, self.files)
        self._names = _names(json)

    @classmethod
    def among(cls, json: JSON, files: Iterable[BinaryIO]) -> Self:
        """Return those of ``files`` that are NIfTI. Raises as the class."""
        return cls(json, [file for file in files if is_nifti_file(file)])

    def assign(self, declaration: Declaration) -> dict[str, list[BinaryIO]]:
        """Return the files of each argument that they fill, by its name: as stated, else those of the only argument.

        Raises ParameterRefused for a statement that does not fit the model and the files, StudyRefused where it is not
        certain which argument a file is for.
        """
        volumes = {one.name: one for one in declaration.inputs if one.type is Volume}
        if self._names is not None:
            return self._as_stated(self._names, volumes)
        needed = [one for one in volumes.values() if not one.optional] or list(volumes.values())
        if not self.files:
            return {}
        if len(needed) > 1:
            names = ", ".join(one.name for one in needed)
            raise StudyRefused(
                f"This model takes several volumes ({names}), and a NIfTI file does not say which it is: send"
                f' "{VOLUMES}" too, a list of these names in the order of the files.',
                private="several volumes",
            )
        if not needed[0].many and len(self.files) > 1:
            raise StudyRefused(
                f"This model takes one volume; the request holds {len(self.files)} NIfTI files. Send the one to use.",
                private="several NIfTI files",
            )
        return {needed[0].name: self.files}

    def _as_stated(self, names: Sequence[str], volumes: Mapping[str, Input]) -> dict[str, list[BinaryIO]]:
        if len(names) != len(self.files):
            raise _refused(f"It should name an argument for each of the {len(self.files)} NIfTI files.")
        found: dict[str, list[BinaryIO]] = {}
        for name, file in zip(names, self.files, strict=True):
            found.setdefault(name, []).append(file)
        if found.keys() - volumes.keys():
            raise _refused(f"The volumes of this model are {', '.join(volumes)}.")
        if any(len(files) > 1 and not volumes[name].many for name, files in found.items()):
            raise _refused("An argument of one volume should be named once.")
        if missing := [name for name, one in volumes.items() if not one.optional and name not in found]:
            raise _refused(f"The model needs {', '.join(missing)} too.")
        return found

    def volume(self, file: BinaryIO, declared: Input) -> tuple[NiftiVolume, list[Conformance]]:
        """Return a file as a Volume, and which recommended conditions hold. Raises StudyRefused, LimitExceeded."""
        found = NiftiVolume(file, self._modality, allow_tilt=declared.requires.allow_tilt)
        stated = StatedSeries("the NIfTI file", self._modality, len(found.frames), f"send {MODALITY} too")
        conformance = stated.conformance(declared.requires)
        return found, conformance + [Conformance(remark, False) for remark in found.remarks]


def _names(json: JSON) -> list[str] | None:
    stated: Any = json.get(VOLUMES)
    names = [stated] if isinstance(stated, str) else stated
    if names in (None, [""]):
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _refused("It should be a list of names, one for each NIfTI file.")
    return names


def _refused(sentence: str) -> ParameterRefused:
    return ParameterRefused([(pointer((VOLUMES,)), sentence)])


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


def statements_schema(declaration: Declaration) -> JSON:
    """Return the JSON Schema of what a sender states of NIfTI files, by member; a model without a volume has none."""
    volumes = [one.name for one in declaration.inputs if one.type is Volume]
    modality = {
        "type": "string",
        "maxLength": LONGEST_MODALITY,
        "description": "The modality of the NIfTI files, such as CT; DICOM files state their own.",
    }
    names = {
        "type": "array",
        "items": {"enum": volumes},
        "description": "The argument that each NIfTI file is, in the order of the files.",
    }
    return ({MODALITY: modality} if volumes else {}) | ({VOLUMES: names} if len(volumes) > 1 else {})
