"""The modules of the patient and the study, which every object made of a study repeats (PS3.3 A.1.3)."""

from copy import deepcopy

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag

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


def copy_study(header: Dataset, dataset: Dataset) -> None:
    """Give ``dataset`` the patient and the study of ``header``; a value that cannot be read counts as absent.

    What must be there and is not is empty (type 2, PS3.5 7.4.3).
    """
    for tag in [tag for tag, _ in dataset.items() if tag.group in GROUPS]:
        del dataset[tag]
    for keyword in (*REQUIRED, *REQUIRED_OF_PATIENT):
        setattr(dataset, keyword, "")
    for keyword in (*_keywords(header), *REQUIRED, *OPTIONAL):
        if value(header, keyword) is not None:
            dataset[keyword] = deepcopy(header[keyword])


def _keywords(header: Dataset) -> list[str]:
    """Of the elements of the patient; what has no keyword is retired or unknown."""
    return [word for tag, _ in header.items() if tag.group in GROUPS and (word := keyword_for_tag(tag))]
