"""The result of one inference: findings on the study's geometry, and files."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.client.answer import Answer
from gateway.client.errors import ClientError, counted
from gateway.client.unreadable import Unreadable
from gateway.contract.brief import Brief, line_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gateway.contract.findings import Finding
    from gateway.dicom.reading.instances import Instance

    Array = NDArray[Any]


@dataclass(frozen=True, repr=False)
class InferenceCall(Brief):
    """The request behind a result: the model's route, the JSON, and the time of the answer, with its zone."""

    _shown = frozenset({"route"})

    route: str
    words: Mapping[str, Any]
    answered: datetime


@dataclass(frozen=True, repr=False)
class InferenceResult:
    """One checked answer and the study that it is about; ``source`` are its headers in the order that was sent.

    ``source`` is empty where the study was named and the client has no files of it: masks then have no geometry, and
    only ``save`` writes them. ``skipped`` are the unreadable files that ``skip_unreadable`` left out. Its methods raise
    AnswerInvalid for an answer that breaks protocol 1.0, or lies on other images.
    """

    answer: Answer
    source: "tuple[Instance, ...]"
    asked: InferenceCall
    skipped: tuple[Unreadable, ...] = ()

    def __repr__(self) -> str:
        from gateway.client.showing import counts

        return line_of("InferenceResult", *counts(self.answer), f"of {counted(len(self.source), 'instance')}")

    def _repr_html_(self) -> str:
        """Return a table of the findings for a notebook; it has no pixels, since notebooks are saved."""
        from gateway.client.showing import table

        return table(self.answer, repr(self))

    @property
    def json(self) -> dict[str, Any]:
        """The model's JSON as received."""
        return self.answer.json

    @property
    def request_id(self) -> str:
        """The id of this answer in the gateway's logs."""
        return self.answer.request_id

    @cached_property
    def findings(self) -> "list[Finding]":
        """The findings of the answer, typed; ``of`` is the Volume, Image or Series that a finding lies on."""
        from gateway.client.reading import findings

        return findings(self.answer, self.source)

    @property
    def masks(self) -> "list[Array]":
        """The arrays of all masks, (slice, row, column) in the order of the source's slices, or (row, column).

        Bool for a mask; uint8 of 0 to 255 for probabilities and heat, of labels for a label mask.
        """
        return [finding.array for finding in self._masks()]

    @cached_property
    def objects(self) -> list[Any]:
        """The findings as DICOM datasets: those of the answer, or made here of its JSON and masks."""
        from gateway.client.reading import objects

        if self.asked.words.get("output") == "dicom":
            return objects(self.answer)
        from gateway.dicom.writing.objects import objects as make

        self._need_source("a DICOM object")
        return make(self.findings, source=self.source, provenance=self._provenance())

    def save(self, out: str | Path, *, legacy: bool = False) -> list[Path]:
        """Write the answer as received: ``response.json``, masks as ``.npy``, DICOM parts; returns the paths.

        ``legacy`` writes masks as bare bytes. Like every method that writes, it replaces the files of an earlier answer
        in the same folder, all of them, and raises ClientError where the folder has other files.
        """
        return self.answer.save(Path(out), legacy=legacy)

    def to_png(self, out: str | Path, *, labels: bool = False) -> list[Path]:
        """Write a picture of each image with its findings, and a contact sheet; returns the paths, the sheet first."""
        from gateway.client.reading import origin, require_sound
        from gateway.dicom.drawing.gallery import write_pictures
        from gateway.representations.pictures import drawn_findings

        self._need_source("a picture")
        require_sound(self.answer)
        findings, objects = drawn_findings(self.answer, self.source)
        by = origin(self.answer, self.asked.route)
        return self._written(
            out, "to_png", lambda folder: write_pictures(folder, self.source, findings, objects, by, labels=labels)
        )

    def show(self) -> None:
        """Show the contact sheet: in a notebook below its cell, elsewhere in the viewer of the system.

        A saved notebook then holds the picture. The viewer reads a temporary file, which is deleted when Python ends.
        Raises ClientError where the system has no viewer.
        """
        from gateway.client.showing import show, temporary

        show(self.to_png(temporary())[0])

    def to_nifti(self, out: str | Path) -> list[Path]:
        """Write each mask as ``mask_N.nii.gz`` with the affine of its volume, to RAS mm; returns the paths.

        uint8: 0 and 1 for a mask, labels for a label mask; float32 of 0 to 1 for probabilities and heat. A mask on
        images that are no volume is refused: StudyRefused. Raises ImportError without nibabel.
        """
        from gateway.client.saving import write_nifti_files

        self._need_source("a NIfTI file")
        return self._written(out, "to_nifti", lambda folder: write_nifti_files(self._masks(), folder))

    def to_dicom(self, out: str | Path) -> list[Path]:
        """Write ``objects`` under the names of ``save``: ``seg_0.dcm``, ``sr_0.dcm`` ...; returns the paths."""
        from gateway.client.saving import write_objects

        return self._written(out, "to_dicom", lambda folder: write_objects(self.objects, folder))

    def _written(self, out: str | Path, method: str, write: Callable[[Path], list[Path]]) -> list[Path]:
        """Write files that appear in ``out`` together; returns their paths there."""
        from gateway.client.folders import replacing

        with replacing(Path(out), self.answer, method) as folder:
            names = [path.name for path in write(folder)]
        return [Path(out) / name for name in names]

    def _masks(self) -> Iterator[Any]:
        from gateway.contract.findings import MASKS

        return (finding for finding in self.findings if type(finding) in MASKS)

    def _need_source(self, what: str) -> None:
        if not self.source:
            raise ClientError(
                f"{what[0].upper()}{what[1:]} needs the headers of the study: send its files instead of a name."
            )

    def _provenance(self) -> Any:
        from gateway import __version__
        from gateway.contract.requests import Provenance

        return Provenance(
            model_name=self.answer.model or self.asked.route,
            model_version=self.answer.model_version,
            input_digest=self.answer.input_digest,
            parameters_digest=hashlib.sha256(json.dumps(self.asked.words, sort_keys=True).encode()).hexdigest(),
            received=self.asked.answered,
            gateway_version=__version__,
        )
