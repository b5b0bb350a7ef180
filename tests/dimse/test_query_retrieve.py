"""C-FIND and C-GET: the matches of QIDO-RS, within the rights of a title, counted and cancelled."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import build_context, build_role, evt

from tests.dimse.raw_peer import CT, EXPLICIT
from tests.dimse.serving import Serving, serving, store_all
from tests.studies.files import files

FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
PENDING, PARTLY, SUCCESS, CANCELLED = 0xFF00, 0xFF01, 0x0000, 0xFE00


def series(study: str, count: int = 3) -> list[Dataset]:
    datasets = [dcmread(io.BytesIO(one.data)) for one in files(count, study=study)]
    for dataset in datasets:
        dataset.PatientName, dataset.PatientID = f"Müller^{study}", f"id-{study}"
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.StudyDate = "20260102"
    return datasets


@pytest.fixture(scope="module")
def queried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("queried"), dicomweb=True) as running:
        association = running.associate(CT)
        assert store_all(association, [*series("alpha"), *series("beta", 2)]) == [0] * 5
        association.release()
        yield running


def query(level: str, **keys: object) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    identifier.SpecificCharacterSet = "ISO_IR 192"
    for name, value in keys.items():
        setattr(identifier, name, value)
    return identifier


def found(served: Serving, identifier: Dataset, title: str = "CT1") -> tuple[list[int], list[Dataset]]:
    association = served.associate(FIND, title=title)
    answers = [(status.Status, match) for status, match in association.send_c_find(identifier, FIND)]
    association.release()
    return [status for status, _ in answers], [match for _, match in answers if match is not None]


def test_studies_are_found_by_name_with_the_keys_that_were_asked_for(queried: Serving) -> None:
    identifier = query(
        "STUDY",
        PatientName="MÜLLER*",
        StudyInstanceUID="",
        PatientID="id-alpha",
        NumberOfStudyRelatedInstances="",
        ModalitiesInStudy="",
        InstitutionName="",
    )
    statuses, (match,) = found(queried, identifier)
    assert statuses == [PENDING, SUCCESS]
    assert (match.PatientName, match.NumberOfStudyRelatedInstances) == ("Müller^alpha", 3)
    assert (match.ModalitiesInStudy, match.InstitutionName) == ("CT", "")
    assert (match.QueryRetrieveLevel, match.RetrieveAETitle) == ("STUDY", "GATEWAY")
    assert "StudyDate" not in match


def test_series_and_images_are_found_below_what_is_named(queried: Serving) -> None:
    study = series("alpha")[0]
    _, matches = found(queried, query("SERIES", StudyInstanceUID=study.StudyInstanceUID, SeriesInstanceUID=""))
    assert [one.SeriesInstanceUID for one in matches] == [study.SeriesInstanceUID]
    names = {"StudyInstanceUID": study.StudyInstanceUID, "SeriesInstanceUID": study.SeriesInstanceUID}
    statuses, matches = found(queried, query("IMAGE", **names, SOPInstanceUID="", InstanceNumber=""))
    assert statuses == [PENDING] * 3 + [SUCCESS]
    assert {one.SOPInstanceUID for one in matches} == {one.SOPInstanceUID for one in series("alpha")}


@pytest.mark.parametrize(
    "identifier",
    [
        query("PATIENT"),
        query(""),
        query("SERIES", SeriesInstanceUID=""),
        query("IMAGE", StudyInstanceUID="1.2.3", SOPInstanceUID=""),
        query("STUDY", PatientID="a*b*c*d*e*f"),
    ],
)
def test_an_identifier_that_names_no_level_or_value_is_refused(queried: Serving, identifier: Dataset) -> None:
    assert found(queried, identifier) == ([0xA900], [])


def test_keys_that_are_not_matched_are_told(queried: Serving) -> None:
    statuses, matches = found(queried, query("STUDY", InstitutionName="none", StudyDate="20260101-"))
    assert statuses == [PARTLY, PARTLY, SUCCESS]
    assert len(matches) == 2


def test_a_title_finds_what_its_caller_reads_and_nothing_else(queried: Serving) -> None:
    assert len(found(queried, query("STUDY", StudyInstanceUID=""), "READER")[1]) == 2
    association = queried.associate(FIND, title="ECHO")
    assert not association.is_established or not association.accepted_contexts


def test_without_dicomweb_nothing_is_found_since_no_names_are_kept(served: Serving) -> None:
    association = served.associate(FIND, GET)
    assert [one.abstract_syntax for one in association.accepted_contexts] == [GET]
    association.release()


def test_a_find_is_cancelled(queried: Serving) -> None:
    association = queried.associate(FIND)
    answers = association.send_c_find(query("STUDY", StudyInstanceUID=""), FIND, msg_id=7)
    association.send_c_cancel(7, 1)
    assert [status.Status for status, _ in answers][-1] in (CANCELLED, SUCCESS)
    assert association.is_established
    association.release()


def fetched(
    served: Serving, identifier: Dataset, title: str = "CT1", *, syntax: str = EXPLICIT, status: int = 0
) -> tuple[list[Dataset], list[Dataset]]:
    """The responses to a C-GET, and the instances that came by it."""
    received: list[Dataset] = []

    def store(event: evt.Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        received.append(dataset)
        return status

    contexts = [build_context(GET), build_context(CT, syntax)]
    association = served.associate(
        title=title,
        contexts=contexts,
        ext_neg=[build_role(CT, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, store)],
    )
    assert association.is_established
    answers = list(association.send_c_get(identifier, GET))
    association.release()
    return [status for status, _ in answers], received


def test_a_study_is_fetched_on_the_same_association(queried: Serving) -> None:
    sent = series("alpha")
    answers, received = fetched(queried, query("STUDY", StudyInstanceUID=sent[0].StudyInstanceUID))
    assert [one.Status for one in answers] == [PENDING, PENDING, SUCCESS]
    assert answers[-1].NumberOfCompletedSuboperations == 3
    by_uid = {one.SOPInstanceUID: one for one in sent}
    assert all(one == by_uid[one.SOPInstanceUID] for one in received)
    assert len(received) == 3


def test_one_instance_is_fetched_by_a_reader(queried: Serving) -> None:
    one = series("beta", 2)[0]
    names = {name: one[name].value for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
    answers, received = fetched(queried, query("IMAGE", **names), "READER")
    assert [one.SOPInstanceUID for one in received] == [names["SOPInstanceUID"]]
    assert answers[-1].Status == SUCCESS


def test_what_does_not_exist_is_a_success_without_sub_operations(queried: Serving) -> None:
    answers, received = fetched(queried, query("STUDY", StudyInstanceUID="1.2.3.4.5"))
    assert ([one.Status for one in answers], received) == ([SUCCESS], [])


def test_instances_that_the_peer_refuses_are_counted_and_named(queried: Serving) -> None:
    sent = series("beta", 2)
    identifier = query("STUDY", StudyInstanceUID=sent[0].StudyInstanceUID)
    answers, _ = fetched(queried, identifier, status=0xA700)
    assert (answers[-1].Status, answers[-1].NumberOfFailedSuboperations) == (0xA702, 2)
    answers, _ = fetched(queried, identifier, status=0xB000)
    assert (answers[-1].Status, answers[-1].NumberOfWarningSuboperations) == (0xB000, 2)


def test_an_identifier_of_a_retrieval_that_names_nothing_is_refused(queried: Serving) -> None:
    answers, received = fetched(queried, query("SERIES", SeriesInstanceUID="1.2"))
    assert ([one.Status for one in answers], received) == ([0xA900], [])


def test_an_instance_in_another_syntax_is_sent_in_explicit_little_endian(tmp_path: Path) -> None:
    original = dcmread(get_testdata_file("693_J2KI.dcm"))
    sop_class, syntax = original.SOPClassUID, original.file_meta.TransferSyntaxUID
    with serving(tmp_path) as served:
        association = served.associate(contexts=[build_context(sop_class, syntax)])
        assert store_all(association, [original]) == [0]
        association.release()
        received: list[Dataset] = []

        def store(event: evt.Event) -> int:
            received.append(event.dataset)
            return 0

        association = served.associate(
            contexts=[build_context(GET), build_context(sop_class, ExplicitVRLittleEndian)],
            ext_neg=[build_role(sop_class, scp_role=True)],
            evt_handlers=[(evt.EVT_C_STORE, store)],
        )
        identifier = query("STUDY", StudyInstanceUID=original.StudyInstanceUID)
        answers = [status.Status for status, _ in association.send_c_get(identifier, GET)]
        association.release()
    assert answers == [SUCCESS]
    assert len(received[0].PixelData) == original.Rows * original.Columns * 2
