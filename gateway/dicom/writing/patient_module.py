"""The modules of the patient and the study, which every object made of a study repeats (PS3.3 A.1.3)."""

import re
from copy import deepcopy

from pydicom import DataElement, Dataset
from pydicom.config import RAISE
from pydicom.datadict import dictionary_has_tag, dictionary_is_retired, keyword_for_tag
from pydicom.multival import MultiValue
from pydicom.valuerep import validate_value

from gateway.dicom.reading.attributes import value

GROUPS = (0x0010, 0x0012)
"""Elements of the patient, and of the clinical trial (PS3.3 C.7.1.1, C.7.1.3, C.7.2.2, C.7.2.3)."""

REQUIRED = ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID")
REQUIRED_OF_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
OPTIONAL = (
    "StudyDescription",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianIdentificationSequence",
    "ConsultingPhysicianName",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "RequestingService",
    "ProcedureCodeSequence",
    "AdmittingDiagnosesDescription",
    "AdmissionID",
    "ReasonForVisit",
    "TimezoneOffsetFromUTC",
)
"""Of the study (PS3.3 C.7.2.1), of the visit, and the zone of all its times (PS3.3 C.12.1)."""

SPECIES = ("PatientSpeciesDescription", "PatientSpeciesCodeSequence")
OF_AN_ANIMAL = (
    "PatientBreedDescription",
    "PatientBreedCodeSequence",
    "BreedRegistrationSequence",
    "ResponsiblePerson",
    "ResponsibleOrganization",
    "PatientSexNeutered",
)
"""Attributes of type 2C, which must be present, though empty, with a species (PS3.3 C.7.1.1, C.7.2.2)."""

ENUMERATED = {"PatientSex": ("M", "F", "O"), "PatientSexNeutered": ("ALTERED", "UNALTERED")}
"""Attributes that allow no other values (PS3.3 C.7.1.1, C.7.2.2)."""

NOT_OF_AN_OBJECT = {
    "PatientAddress",
    "PatientBirthName",
    "PatientInsurancePlanCodeSequence",
    "PatientMotherBirthName",
    "PatientPrimaryLanguageCodeSequence",
    "PatientReligiousPreference",
    "PatientTelecomInformation",
    "PatientTelephoneNumbers",
    "BranchOfService",
    "CountryOfResidence",
    "MilitaryRank",
    "RegionOfResidence",
    "ClinicalTrialSeriesDescription",
    "ClinicalTrialSeriesID",
    "ExaminedBodyThickness",
    "IssuerOfClinicalTrialSeriesID",
    "SubjectRelativePositionInImage",
}
"""Elements of ``GROUPS`` that no object repeats: those of hospital records, such as an address (PS3.3 C.2.2, C.2.3),
and those of the source's own series and images."""

POSITIVE = {"PatientSize", "PatientWeight"}
"""Measures that are unknown where they are 0."""

METHODS = ("DeidentificationMethod", "DeidentificationMethodCodeSequence")
METHOD_UNKNOWN = "Not stated by the source"
"""De-identification Method where an identity was removed in an unknown way, since one is required (PS3.3 C.7.1.1)."""

TEXT = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
"""Value representations whose form is checked; all others are binary, and pydicom has read them."""

_SEPARATED = {
    "DA": (re.compile(r"(\d{4})\.(\d\d)\.(\d\d)"), r"\1\2\3"),
    "TM": (re.compile(r"(\d\d):(\d\d)(?::(\d\d(?:\.\d{1,6})?))?"), r"\1\2\3"),
}
"""Dates and times as ACR-NEMA wrote them, which DICOM no longer allows (PS3.5 6.2)."""


def copy_study(header: Dataset, dataset: Dataset) -> None:
    """Give ``dataset`` the patient and the study of ``header``; an invalid value counts as absent.

    Required attributes without a value are empty (type 2, PS3.5 7.4.3).
    """
    for tag in [tag for tag, _ in dataset.items() if tag.group in GROUPS]:
        del dataset[tag]
    for keyword in (*REQUIRED, *REQUIRED_OF_PATIENT):
        setattr(dataset, keyword, "")
    for keyword in (*_keywords(header), *REQUIRED, *OPTIONAL):
        if value(header, keyword) is not None and (element := _valid(header[keyword])) is not None:
            dataset[keyword] = element
    if any(keyword in dataset for keyword in SPECIES):
        for keyword in OF_AN_ANIMAL:
            if keyword not in dataset:
                setattr(dataset, keyword, [] if keyword.endswith("Sequence") else "")
    if dataset.get("PatientIdentityRemoved") == "YES" and not any(keyword in dataset for keyword in METHODS):
        dataset.DeidentificationMethod = METHOD_UNKNOWN


def _keywords(header: Dataset) -> list[str]:
    """The elements of the patient that an object repeats; private, unknown and retired ones are not among them."""
    known = [tag for tag, _ in header.items() if tag.group in GROUPS and dictionary_has_tag(tag)]
    keywords = [keyword_for_tag(tag) for tag in known if not dictionary_is_retired(tag)]
    return [keyword for keyword in keywords if keyword not in NOT_OF_AN_OBJECT]


def _valid(element: DataElement) -> DataElement | None:
    """A copy of an element of the source that is valid by PS3.5 6.2; None where it cannot be made valid."""
    if element.VR == "SQ":
        items = list(element.value)
        sound = bool(items) and all(_valid(each) is not None for item in items for each in item if not each.is_empty)
        return deepcopy(element) if sound else None
    texts = _texts(element)
    pattern, plain = _SEPARATED.get(element.VR, (None, ""))
    mended = texts if pattern is None else [pattern.sub(lambda found: found.expand(plain), text) for text in texts]
    if not all(_is_valid(element, text) for text in mended):
        return None
    copied = deepcopy(element)
    if mended != texts:  # judged first: pydicom would log a value that it finds invalid
        copied.value = mended if len(mended) > 1 else mended[0]
    return copied


def _texts(element: DataElement) -> list[str]:
    values = element.value if isinstance(element.value, MultiValue | list) else [element.value]
    return [str(each) for each in values]


def _is_valid(element: DataElement, text: str) -> bool:
    if text not in ENUMERATED.get(element.keyword, (text,)):
        return False
    if element.VR not in TEXT:
        return True
    try:
        validate_value(element.VR, text, RAISE)
    except ValueError:
        return False
    return element.keyword not in POSITIVE or float(text) > 0
