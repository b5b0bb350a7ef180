"""A caller's certificate is known by its subject as RFC 4514 writes it, from the handshake and from nowhere else."""

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access.certificates import read, subject
from tests.access.certificates import Authority, handshake, named
from tests.examples import examples
from tests.require import require

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
ATTRIBUTES = st.sampled_from([NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.LOCALITY_NAME])
KINDS = st.sampled_from(
    [NameOID.COMMON_NAME, NameOID.STREET_ADDRESS, NameOID.SURNAME, NameOID.GIVEN_NAME, NameOID.TITLE]
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Path:
    return authority.sign(named(CN="server"), "server.pem")


def subject_of(authority: Authority, server: Path, name: x509.Name) -> str:
    client = authority.sign(name, "client.pem")
    return subject({"gunicorn.socket": handshake(authority, client, server)})


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.tuples(ATTRIBUTES, TEXT), min_size=1, max_size=4))
def test_a_subject_is_written_as_cryptography_writes_it(
    authority: Authority, server: Path, attributes: list[tuple[x509.ObjectIdentifier, str]]
) -> None:
    name = x509.Name([x509.NameAttribute(oid, text) for oid, text in attributes])
    assert subject_of(authority, server, name) == name.rfc4514_string()


def test_no_text_in_one_attribute_makes_the_subject_of_two(authority: Authority, server: Path) -> None:
    two = subject_of(authority, server, named(O="Hospital", CN="archive"))
    assert two == "CN=archive,O=Hospital"
    assert subject_of(authority, server, named(CN="archive,O=Hospital")) == r"CN=archive\,O\=Hospital".replace(
        r"\=", "="
    )
    assert subject_of(authority, server, named(CN="archive,O=Hospital")) != two


@settings(max_examples=examples(30))
@given(st.lists(st.lists(st.tuples(KINDS, TEXT), min_size=1, max_size=3, unique_by=lambda one: one[0]), min_size=1))
def test_what_openssl_prints_of_a_certificate_reads_as_its_subject(
    authority: Authority, server: Path, levels: list[list[tuple[x509.ObjectIdentifier, str]]]
) -> None:
    name = x509.Name(
        x509.RelativeDistinguishedName(x509.NameAttribute(oid, text) for oid, text in level) for level in levels
    )
    found = subject_of(authority, server, name)
    require(shutil.which("openssl"), "reading a certificate as an operator does needs openssl")
    command = ["openssl", "x509", "-in", "client.pem", "-noout", "-subject", "-nameopt", "RFC2253"]
    printed = subprocess.run(command, cwd=server.parent, capture_output=True, text=True, check=True).stdout
    assert read(printed.removeprefix("subject=").removesuffix("\n")) == read(found)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CN=a,O=b", "O=b,CN=a"),
        ("CN=a+O=b", "CN=a,O=b"),
        ("CN=a\\,O=b", "CN=a,O=b"),
        ("CN=a\\2CO=b", "CN=a,O=b"),
        ("CN=a\\\\2C", "CN=a\\2C"),
        ("CN=A", "CN=a"),
        ("CN=a", "CN=a\\20"),
        ("CN=a\\+O\\=b", "CN=a+O=b"),
        ("CN=\\FF", "CN=\\EF\\BF\\BD"),
    ],
)
def test_different_subjects_have_different_names(one: str, other: str) -> None:
    assert read(one) != read(other)


def test_there_is_no_subject_without_a_certificate(authority: Authority, server: Path) -> None:
    assert subject({"gunicorn.socket": handshake(authority, None, server)}) == ""
    assert subject({"gunicorn.socket": object()}) == ""
    assert subject({"HTTP_X_CLIENT_CERT": "CN=archive", "SSL_CLIENT_S_DN": "CN=archive"}) == ""
