"""The file of AE titles: what it grants, and a sentence for each fault."""

import pytest

from gateway.dimse.known_titles import parse_titles

ENTRY = b'[ae.CT1]\naddress = ["10.1.0.0/16", "2001:db8::/32"]\ncaller = "ct1"\nmay = ["store"]\nreads = ["b", "ct1"]\n'


def test_an_entry_names_addresses_caller_and_rights() -> None:
    known = parse_titles(ENTRY)["CT1"]
    assert (known.caller, known.may, known.owners) == ("ct1", {"store"}, ("ct1", "b"))
    assert [known.at(one) for one in ("10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1%eth0", "10.2.0.1", "::1")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_a_subject_is_compared_as_a_name_and_required() -> None:
    known = parse_titles(ENTRY + b'subject = "CN=ct1,O=Hospital"\n')["CT1"]
    assert known.has_subject("cn=ct1,O=Hospital")
    assert not known.has_subject("CN=ct2,O=Hospital")
    assert not known.has_subject("")
    assert parse_titles(ENTRY)["CT1"].has_subject("")


@pytest.mark.parametrize(
    "data",
    [
        b"[ae.CT1",
        b"\xff",
        b"[peers.CT1]",
        b'[ae.CT1]\ncaller = "ct1"',
        b'[ae.CT1]\naddress = []\ncaller = "ct1"',
        b'[ae.CT1]\naddress = ["ten"]\ncaller = "ct1"',
        b'[ae.CT1]\naddress = ["10.0.0.1/8"]\ncaller = "ct1"',
        b'[ae.CT1]\naddress = "10.0.0.1"\ncaller = "ct1"',
        b'[ae.CT1]\naddress = ["10.0.0.1"]',
        b'[ae.CT1]\naddress = ["10.0.0.1"]\ncaller = "a b"',
        b'[ae.CT1]\naddress = ["10.0.0.1"]\ncaller = "ct1"\nmay = ["delete"]',
        b'[ae.CT1]\naddress = ["10.0.0.1"]\ncaller = "ct1"\nadress = []',
        b'[ae.CT1]\naddress = ["10.0.0.1"]\ncaller = "ct1"\nreads = "all"',
        b'[ae.ABCDEFGHIJKLMNOPQ]\naddress = ["10.0.0.1"]\ncaller = "ct1"',
        b'[ae."A\\\\B"]\naddress = ["10.0.0.1"]\ncaller = "ct1"',
    ],
)
def test_a_fault_is_a_sentence(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        parse_titles(data)
