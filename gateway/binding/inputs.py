"""A request's files -> the arguments of a model: its volumes, images, series, study and attachments."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

from gateway.binding.declaration import Declaration, Input
from gateway.binding.nifti_inputs import NiftiInputs
from gateway.binding.requirements import Requires, choose, fitting, has_pixels
from gateway.binding.tensor_inputs import TensorInputs
from gateway.contract.findings import Conformance
from gateway.contract.requests import Attachment, Request
from gateway.dicom.reading.attributes import text
from gateway.dicom.reading.files import opened
from gateway.dicom.reading.holes import SHOWN, fault_of, head_of, listed
from gateway.dicom.reading.instances import Instance
from gateway.dicom.volumes import belonging, rescaling
from gateway.dicom.volumes.nifti_volumes import is_nifti_file
from gateway.dicom.volumes.stack import Frame
from gateway.dicom.volumes.study import Image, Series, Study, Volume, image, split, study
from gateway.errors import StudyRefused


class Inputs:
    """The contents of one request, read on first use: a model of parameters alone reads no file."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.conformance: list[Conformance] = []
        self.tensors = TensorInputs(request)
        self.nifti = NiftiInputs({}, [])
        """The files of ``arguments``; a model that takes no volume has none."""
        self._taken: list[Series] = []
        # Before Python 3.12 a cached_property would let all requests wait for the one that is reading.
        self._split: tuple[Sequence[Instance], Sequence[Any]] | None = None
        self._study: Study | None = None

    @property
    def _files(self) -> tuple[Sequence[Instance], Sequence[Any]]:
        if self._split is None:
            self._split = split(self.tensors.other_files)
        return self._split

    @property
    def instances(self) -> Sequence[Instance]:
        """The DICOM files of the request, in its order."""
        return self._files[0]

    @property
    def study(self) -> Study:
        """The DICOM files of the request, by series; a request without any is a study of none."""
        if self._study is None:
            self._study = study(self.instances) if self.instances else Study(())
        return self._study

    def arguments(self, declaration: Declaration) -> dict[str, Any]:
        """Keyword arguments by name. Raises StudyRefused, with one sentence for each reason."""
        self.tensors.check(declaration)
        self._find_nifti(declaration)
        types = {one.type for one in declaration.inputs}
        self._refuse_nifti(types)
        if types and not types & {Attachment, Request} and self._others:
            raise self.strays("This model takes no attachments")
        self._refuse_both(declaration)
        assigned = self.nifti.assign(declaration)
        return {one.name: self._argument(one, assigned) for one in declaration.inputs}

    def _find_nifti(self, declaration: Declaration) -> None:
        """Take the NIfTI files for volumes where these are neither DICOM nor tensors; else they are attachments."""
        volumes = any(one.type is Volume for one in declaration.inputs)
        others = volumes and not self.tensors.names and not self.instances
        self.nifti = NiftiInputs.among(self.request.json, self._files[1] if others else [])

    def _refuse_nifti(self, types: set[type]) -> None:
        """Refuse NIfTI files in place of a study, of a model that takes its images as something else than a Volume."""
        of_study = [kind.__name__ for kind in (Image, Series, Study) if kind in types]
        taken = types & {Volume, Attachment, Request}
        if of_study and not taken and not self.instances and any(map(is_nifti_file, self._others)):
            raise StudyRefused(
                f"This model takes {' and '.join(of_study)}, which are DICOM; a NIfTI file stands for a Volume alone. "
                "Send the DICOM files of the study.",
                private="a NIfTI file",
            )

    def _refuse_both(self, declaration: Declaration) -> None:
        """Refuse a study beside tensors that leave it no argument."""
        of_images = {one.name for one in declaration.inputs if one.of_images}
        if self.tensors.names and of_images <= self.tensors.names and self.instances:
            raise StudyRefused(
                "The request has a tensor for each argument, and DICOM files too: send one of them.",
                private="a study beside tensors",
            )

    def _argument(self, declared: Input, nifti: Mapping[str, Sequence[BinaryIO]]) -> Any:
        if declared.name in nifti:
            volumes = [self._of_nifti(file, declared) for file in nifti[declared.name]]
            return volumes if declared.many else volumes[0]
        if declared.name not in self.tensors.names:
            return _FILLERS[declared.type](self, declared)
        argument, conformance = self.tensors.argument(declared)
        self.conformance += conformance
        return argument

    def _of_nifti(self, file: BinaryIO, declared: Input) -> Volume:
        volume, conformance = self.nifti.volume(file, declared)
        self.conformance += conformance
        return volume

    def one_series(self, declared: Input) -> Series | None:
        """The series for an argument of one, none of those taken before; None where it may be left out."""
        free = [series for series in self.study.series if not any(series is one for one in self._taken)]
        try:
            fits = fitting(free, declared.requires, of_pixels=_of_pixels(declared))
        except StudyRefused:
            if declared.optional:
                return None
            raise
        # Reports and segmentations beside the one series of images are no reason to ask which of them is meant.
        with_pixels = [series for series in fits if has_pixels(series, declared.requires)]
        series = choose(with_pixels or fits, declared.requires.choose)
        self._taken.append(series)
        self.recommend(declared.requires, [series])
        return series

    def all_series(self, declared: Input) -> list[Series]:
        """Every series that fits an argument of several."""
        try:
            fits = fitting(self.study.series, declared.requires, of_pixels=_of_pixels(declared))
        except StudyRefused:
            if declared.optional:
                return []
            raise
        self.recommend(declared.requires, fits)
        return fits

    def recommend(self, requires: Requires, series: Sequence[Series]) -> None:
        """Note which recommended conditions hold."""
        if requires.recommended is not None:
            self.conformance += [
                Conformance(condition.needed, all(map(condition.met, series)))
                for condition in requires.recommended.conditions()
            ]

    def remark(self, remarks: Sequence[str]) -> None:
        """Note what is no reason to refuse the study, and is worth knowing beside the answer."""
        self.conformance += [Conformance(remark, False) for remark in remarks]

    def strays(self, needed: str) -> StudyRefused:
        """The refusal of files that are not DICOM, with the fault of each by its place among the request's files."""
        files = self._others
        count = "one file of the request is" if len(files) == 1 else f"{len(files) or 'no'} files of the request are"
        faults = [f"File {self._place(file)}: {_fault(file)}" for file in files[:SHOWN]]
        sentence = f"{needed}; {count} not DICOM. {listed(faults, len(files))}".strip()
        return StudyRefused(sentence, private="attachments")

    def _place(self, file: Any) -> int:
        """The place of a file in the request, from 1."""
        return next((place for place, one in enumerate(self.request.instances, 1) if one is file), 0)

    def attachments(self) -> list[Attachment]:
        """The files that are not DICOM, in the request's order."""
        return [Attachment(file) for file in self._others]

    @property
    def _others(self) -> list[Any]:
        """The files that are neither DICOM nor volumes."""
        return [file for file in self._files[1] if not any(file is one for one in self.nifti.files)]


def _of_pixels(declared: Input) -> bool:
    """Return True for an argument that images alone fill; a study and its series may be of any instances."""
    return declared.type in (Volume, Image)


def _fault(file: BinaryIO) -> str:
    with opened(file):
        return fault_of(head_of(file))


def _images(inputs: Inputs, series: Series) -> list[Image]:
    """Each image of a series, the frames of an instance in their order; objects beside them are reported.

    Raises StudyRefused as ``belonging.images_among`` and ``rescaling.check``.
    """
    images, remarks = belonging.images_among(series.instances)
    inputs.remark(remarks)
    kinds: dict[tuple[str, ...], list[Frame]] = {}
    for instance in images:
        kind = tuple(text(instance.header, keyword) for keyword in ("SOPClassUID", "PhotometricInterpretation"))
        kinds.setdefault(kind, []).extend((instance, frame) for frame in range(instance.frames))
    for frames in kinds.values():
        rescaling.check(frames)
    return [image(instance, frame) for instance in images for frame in range(instance.frames)]


def _volume(inputs: Inputs, declared: Input) -> Any:
    if declared.many:
        return [_made(inputs, declared, series) for series in inputs.all_series(declared)]
    series = inputs.one_series(declared)
    return series and _made(inputs, declared, series)


def _made(inputs: Inputs, declared: Input, series: Series) -> Volume:
    """A series as a volume; its remarks travel with the answer."""
    volume = series.volume(**declared.requires.allowances)
    inputs.remark(volume.remarks)
    return volume


def _image(inputs: Inputs, declared: Input) -> Any:
    if declared.many:
        return [one for series in inputs.all_series(declared) for one in _images(inputs, series)]
    series = inputs.one_series(declared)
    images = _images(inputs, series) if series else []
    if len(images) > 1:
        raise StudyRefused(
            f"This model takes one image; the series holds {len(images)}. Send the one to use.",
            private="several images",
        )
    return images[0] if images else None


def _series(inputs: Inputs, declared: Input) -> Any:
    return inputs.all_series(declared) if declared.many else inputs.one_series(declared)


def _study(inputs: Inputs, declared: Input) -> Any:
    return inputs.study if inputs.all_series(declared) or not declared.optional else None


def _attachment(inputs: Inputs, declared: Input) -> Any:
    attachments = inputs.attachments()
    if declared.many:
        return attachments
    if not attachments and declared.optional:
        return None
    if len(attachments) != 1:
        raise inputs.strays("This model needs one attachment")
    return attachments[0]


def _request(inputs: Inputs, declared: Input) -> Any:
    return inputs.request


_FILLERS: Mapping[type, Callable[[Inputs, Input], Any]] = {
    Volume: _volume,
    Image: _image,
    Series: _series,
    Study: _study,
    Attachment: _attachment,
    Request: _request,
}
