"""The provenance of an object: its maker, its study and its time, which every DICOM object states.

UIDs are made from the input, the model and the content, and dates from the time of receipt, so that the same request
gives the same bytes.
"""

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from io import BytesIO
from typing import Any

from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID, ExplicitVRLittleEndian

from gateway.contract.findings import Code, Coded
from gateway.contract.requests import Provenance
from gateway.dicom.reading.attributes import text
from gateway.dicom.writing.codes import checked
from gateway.dicom.writing.patient_module import copy_study

SCHEME = "99GATEWAY"
"""The coding scheme of labels that have no code of their own (PS3.3 8.2); each label has its own value in it."""

LONG_STRING, SHORT_STRING = 64, 16
"""Characters of the value representations LO and SH (PS3.5 6.2)."""

FIRST_NUMBER = 1001
"""Series Number of the first object of an answer: above what scanners count to, and else without a meaning."""

PENDING = UID("2.25.1")
"""Stands where a UID is to be, until the content is known."""

_TIMED = ("ContentDate", "PresentationCreationDate", "InstanceCreationDate", "DateOfSecondaryCapture")
_TIMES = {each: each.replace("Date", "Time") for each in (*_TIMED, "SeriesDate")}
"""Dates that highdicom takes from the clock, and their times."""

_IDENTIFYING = ("SOPInstanceUID", "SeriesInstanceUID", "ContributingEquipmentSequence")
_BULK = ("PixelData", "FloatPixelData", "PerFrameFunctionalGroupsSequence", "ReferencedSeriesSequence")
_OFFSET = re.compile(r"([+-])(\d\d)([0-5]\d)")


def line(raw: object, limit: int = LONG_STRING) -> str:
    """Return a text for an attribute of one line: no backslash, no control character, at most ``limit`` characters."""
    return " ".join(re.sub(r"[\\\x00-\x1f\x7f]", " ", str(raw)).split())[:limit].rstrip()


def code_of(label: str, code: Coded | None = None) -> Code:
    """Return the code or, without one, a code of the private scheme that is made of the label.

    Raises AnswerInvalid for a code that lacks a part, or is no code of UCUM or SNOMED CT where it says so.
    """
    if code is not None:
        return checked(Code(code.value, code.scheme_designator, line(code.meaning)))
    digest = hashlib.sha256(label.encode()).hexdigest()[:SHORT_STRING].upper()
    return Code(digest, SCHEME, line(label) or "Unnamed")


@dataclass(frozen=True)
class Stamp:
    """Puts an object into the study of ``header``, with its ``provenance``.

    ``number`` is its Series Number, which distinguishes objects of the same content in one answer.
    """

    provenance: Provenance
    header: Dataset
    number: int = FIRST_NUMBER

    @property
    def model(self) -> str:
        return line(self.provenance.model_name) or "model"

    @property
    def study_instance_uid(self) -> str:
        return text(self.header, "StudyInstanceUID") or self.uid("study")

    @property
    def version(self) -> str:
        """The model's version; without one, the first digits of its digest."""
        return line(self.provenance.model_version) or self.provenance.model_digest[:12] or "unversioned"

    @property
    def placeholders(self) -> dict[str, Any]:
        """Arguments that highdicom requires for any object; ``finish`` replaces their values."""
        return {
            "series_instance_uid": PENDING,
            "series_number": 1,
            "sop_instance_uid": PENDING,
            "instance_number": 1,
            "manufacturer": line(self.provenance.gateway_name) or "gateway",
            "manufacturer_model_name": self.model,
            "software_versions": self.version,
            "device_serial_number": self.provenance.model_digest[:LONG_STRING] or "unknown",
        }

    def uid(self, *parts: str | bytes) -> UID:
        """Return a UID of 128 bits (PS3.5 B.2) from the input, the model, its parameters and ``parts``."""
        made = self.provenance
        digest = hashlib.sha256()
        for part in (
            made.input_digest, made.model_name, made.model_version, made.model_digest, made.parameters_digest, *parts
        ):  # fmt: skip
            digest.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
        return UID(f"2.25.{int.from_bytes(digest.digest()[:16], 'big')}")

    def finish(self, made: Dataset, description: str, *, content: Iterable[bytes] = ()) -> Dataset:
        """Return the object as a plain dataset with its patient, study, equipment, UIDs and times.

        ``content`` distinguishes it from objects of the same header: its pixels and their places.
        """
        dataset = Dataset(made)
        self._describe(dataset, line(description))
        dataset.StudyInstanceUID = self.study_instance_uid
        copy_study(self.header, dataset)
        pieces = list(content)
        identity = hashlib.sha256(_header_bytes(dataset, _BULK if pieces else ()))
        for piece in pieces:
            identity.update(piece)
        self._identify(dataset, identity.digest())
        self._date(dataset)
        return dataset

    def _describe(self, dataset: Dataset, description: str) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 192"  # a label may be in any script
        dataset.SeriesNumber, dataset.InstanceNumber = self.number, 1
        dataset.SeriesDescription = description
        for keyword in ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber"):
            setattr(dataset, keyword, self.placeholders[_SNAKE[keyword]])
        dataset.ContentQualification = "RESEARCH" if self.provenance.research else "PRODUCT"
        if dataset.Modality not in ("SEG", "SR"):
            dataset.Laterality = ""  # type 2C, where nobody knows whether the part is one of a pair
        scheme = Dataset()
        scheme.CodingSchemeDesignator, scheme.CodingSchemeName = SCHEME, "Labels of the models of this gateway"
        dataset.CodingSchemeIdentificationSequence = [scheme]

    def _identify(self, dataset: Dataset, identity: bytes) -> None:
        dataset.SOPInstanceUID = self.uid("instance", identity)
        dataset.SeriesInstanceUID = self.uid("series", identity)
        organization = self.uid("dimensions", identity)
        for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
            for item in dataset.get(keyword, []):
                item.DimensionOrganizationUID = organization
        dataset.file_meta = meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
        meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, PYDICOM_IMPLEMENTATION_UID

    def _date(self, dataset: Dataset) -> None:
        """Times are of receipt, in the time zone of the study where it states one (PS3.3 C.12.1.1.8)."""
        moment = in_zone(self.provenance.received, text(self.header, "TimezoneOffsetFromUTC"))
        day, hour = f"{moment:%Y%m%d}", f"{moment:%H%M%S.%f}"
        for date, time in _TIMES.items():
            if date in dataset or date == "SeriesDate":
                setattr(dataset, date, day)
                setattr(dataset, time, hour)
        dataset.ContributingEquipmentSequence = [self._equipment(moment)]

    def _equipment(self, moment: datetime) -> Dataset:
        """The gateway and the model as processing equipment (PS3.3 C.12.1.1.5)."""
        made = self.provenance
        purpose, item = Dataset(), Dataset()
        purpose.CodeValue, purpose.CodingSchemeDesignator = "109102", "DCM"
        purpose.CodeMeaning = "Processing Equipment"
        item.PurposeOfReferenceCodeSequence = [purpose]
        item.Manufacturer = line(made.gateway_name) or "gateway"
        item.ManufacturerModelName = self.model
        item.SoftwareVersions = [self.version, line(made.gateway_version) or "unversioned"]
        item.ContributionDateTime = f"{moment:%Y%m%d%H%M%S.%f%z}"
        use = " For research, not for clinical use." if made.research else ""
        item.ContributionDescription = (
            f"Made by {item.Manufacturer} {line(made.gateway_version)} with the model {self.model} {self.version} "
            f"(sha256 {made.model_digest or 'unknown'}) from input of sha256 {made.input_digest} "
            f"and parameters of sha256 {made.parameters_digest}.{use}"
        )
        return item


_SNAKE = {
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "manufacturer_model_name",
    "SoftwareVersions": "software_versions",
    "DeviceSerialNumber": "device_serial_number",
}


def in_zone(moment: datetime, offset: str) -> datetime:
    """Return a moment in a zone such as ``+0100``; unchanged for a text that is not a zone."""
    found = _OFFSET.fullmatch(offset.strip())
    if found is None:
        return moment
    sign, hours, minutes = found.groups()
    shift = timedelta(hours=int(hours), minutes=int(minutes))
    return moment.astimezone(timezone(-shift if sign == "-" else shift)) if shift < timedelta(hours=24) else moment


def _header_bytes(dataset: Dataset, skipped: Collection[str]) -> bytes:
    """All but times, UIDs that ``finish`` sets, and ``skipped`` attributes."""
    bare = Dataset(dict(dataset.items()))
    for keyword in (*_IDENTIFYING, *_TIMES, *_TIMES.values(), *skipped):
        bare.pop(keyword, None)
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in bare.get(keyword, []):
            item.DimensionOrganizationUID = PENDING
    buffer = BytesIO()
    dcmwrite(buffer, bare, implicit_vr=False, little_endian=True)
    return buffer.getvalue()
