"""The DICOM network's half of the conformance statement is that of the code."""

import re

import pytest
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID

from gateway import Settings
from gateway.cli import networking
from gateway.delivery import send_outcomes
from gateway.dicom.writing import checks
from gateway.dimse import committing, finding, incoming_store, moving, sub_operations
from gateway.dimse.commands import CommandField
from gateway.dimse.destinations import Destinations
from gateway.dimse.incoming_store import StoreStatus
from gateway.dimse.negotiation import SERVICES
from gateway.dimse.provider import offered
from gateway.peers import dimse_fetch, dimse_query, dimse_report, peer_entries
from gateway.peers.dimse_store import StoreAnswer
from gateway.studies.delivery_rows import DeliveryState
from tests.house.pages import ROOT, rows

PAGES = [ROOT / "docs/conformance.md", ROOT / "docs/dimse.md"]
PAGE = PAGES[0]


def codes(column: str, page: object = PAGE) -> list[int]:
    return [int(code.strip("`"), 16) for code, _ in rows(page, column)]


def test_the_services_are_those_of_the_code() -> None:
    made = {
        (uid, CommandField(field).name.replace("_", "-"), SERVICES[uid] or "any")
        for uid, commands in offered(Settings(dicomweb=True), Destinations(None)).items()
        for field in commands
    }
    listed = {(uid.strip("`"), command, right.strip("`")) for uid, command, right in rows(PAGE, "abstract syntax")}
    assert listed == made
    assert offered(Settings(), Destinations(None)).keys() == offered(
        Settings(dicomweb=True), Destinations(None)
    ).keys() - {"1.2.840.10008.5.1.4.1.2.2.1"}


@pytest.mark.parametrize(("page", "column"), [(PAGES[0], "status of C-STORE"), (PAGES[1], "status")])
def test_the_statuses_of_a_store_are_those_of_the_code(page: object, column: str) -> None:
    known = {value.code for value in vars(incoming_store).values() if isinstance(value, StoreStatus)}
    assert codes(column, page) == sorted(known)


def test_the_statuses_of_queries_are_those_of_the_code() -> None:
    known = {
        *(finding.PENDING, finding.PENDING_PARTLY, finding.SUCCESS, finding.CANCELLED),
        *(finding.WRONG_IDENTIFIER, finding.FAILED, moving.UNKNOWN_DESTINATION),
        *(sub_operations.SOME_FAILED, sub_operations.ALL_FAILED),
    }
    assert set(codes("status of a query or retrieval")) == known


def test_the_reasons_of_commitments_are_those_of_the_code() -> None:
    known = {committing.FAILED, committing.NO_INSTANCE, committing.CLASS_CONFLICT}
    assert set(codes("reason of storage commitment")) == known


def test_the_services_that_are_requested_are_those_of_the_peers() -> None:
    requested = {dimse_query.VERIFICATION, dimse_query.STUDY_FIND, dimse_fetch.STUDY_GET, dimse_report.PUSH_MODEL}
    assert {uid.strip("`") for uid, _, _ in rows(PAGE, "abstract syntax | service requested")} == requested


def test_the_transfer_syntaxes_of_a_fetch_are_those_of_the_code() -> None:
    assert [uid.strip("`") for uid, _ in rows(PAGE, "transfer syntax for C-GET")] == list(dimse_fetch.SYNTAXES)


def test_the_attributes_of_a_query_are_those_of_the_code() -> None:
    listed = {level: tuple(words.split(", ")) for level, words in rows(PAGE, "level of a query")}
    assert listed == {dimse_query.WORDS[level]: keywords for level, keywords in dimse_query.RETURNED.items()}


def test_the_objects_that_are_created_are_those_that_are_checked() -> None:
    assert {uid.strip("`") for _, uid, _ in rows(PAGE, "SOP class")} == set(map(str, checks.REQUIRED))


def test_the_defaults_of_the_configuration_are_those_of_the_code() -> None:
    defaults = {row[1].strip("`"): row[2].strip("`") for row in rows(PAGE, "parameter | where")}
    assert (defaults["dimse --aet"], defaults["dimse --port"]) == (networking.TITLE, str(networking.PORT))
    assert defaults["calling` of a peer"] == peer_entries.CALLING
    assert defaults["GATEWAY_DIMSE_IDLE"] == f"{Settings().dimse_idle:g} s"
    root = dict(rows(PAGE, "parameter"))["implementation class UID"].split("`")[1]
    assert PYNETDICOM_IMPLEMENTATION_UID.startswith(root)


def test_what_follows_from_a_peer_s_status_is_what_the_code_does() -> None:
    for statuses, follows in rows(PAGE, "status or reason from a peer"):
        for code in re.findall(r"`(\w{4})`", statuses):
            number = int(code.replace("x", "0"), 16)
            stored = StoreAnswer("1.2", number).stored
            state = DeliveryState.DELIVERED if stored else send_outcomes.outcome_of_reason(number)[0]
            expected = {"delivered": DeliveryState.DELIVERED, "not sent again": DeliveryState.DEAD}
            named = next((state for words, state in expected.items() if words in follows), None)
            assert state is (DeliveryState.PENDING if "searched" in follows else named), code
