"""A caller's certificate is known by its subject as RFC 4514 writes it, from the handshake and from nowhere else."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access.certificates import subject
from tests.access.certificates import Authority, handshake, named

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
ATTRIBUTES = st.sampled_from([NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.LOCALITY_NAME])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Path:
    return authority.sign(named(CN="server"), "server.pem")


def subject_of(authority: Authority, server: Path, name: x509.Name) -> str:
    client = authority.sign(name, "client.pem")
    return subject({"gunicorn.socket": handshake(authority, client, server)})


@settings(max_examples=30, deadline=None)
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


def test_there_is_no_subject_without_a_certificate(authority: Authority, server: Path) -> None:
    assert subject({"gunicorn.socket": handshake(authority, None, server)}) == ""
    assert subject({"gunicorn.socket": object()}) == ""
    assert subject({"HTTP_X_CLIENT_CERT": "CN=archive", "SSL_CLIENT_S_DN": "CN=archive"}) == ""
