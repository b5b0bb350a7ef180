"""A certificate that is renewed while the server runs serves new connections, once key and certificate are a pair."""

import logging
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from gunicorn.config import Config

from gateway.server import tls_context
from gateway.server.tls_context import ServerTLS
from tests.access.certificates import Authority, named

logger = logging.getLogger("tests.renewal")


def issue(authority: Authority) -> tuple[bytes, bytes]:
    """A key and its certificate, as an authority issues them."""
    pem = authority.sign(named(CN="gateway"), "issued.pem").read_bytes()
    key = load_pem_private_key(pem, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key, x509.load_pem_x509_certificate(pem).public_bytes(Encoding.PEM)


def presented(tls: ServerTLS, authority: Authority) -> bytes:
    """The certificate that a client sees, as PEM."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cafile=authority.path).wrap_bio(outgoing, incoming, server_hostname="127.0.0.1")
    server = tls.context().wrap_bio(incoming, outgoing, server_side=True)
    for _ in range(10):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    certificate = client.getpeercert(binary_form=True)
    assert certificate is not None
    return x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)


def test_a_renewed_certificate_is_presented_once_its_key_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    key_file, certificate_file = tmp_path / "server.key", tmp_path / "server.pem"
    (first_key, first), (second_key, second) = issue(authority), issue(authority)
    key_file.write_bytes(first_key)
    certificate_file.write_bytes(first)
    settings = Config()
    settings.set("certfile", str(certificate_file))
    settings.set("keyfile", str(key_file))
    tls = ServerTLS(settings, logger)
    assert presented(tls, authority) == first

    key_file.write_bytes(second_key)
    assert presented(tls, authority) == first
    monkeypatch.setattr(tls_context, "CERTIFICATE_AGE", 0.0)
    with caplog.at_level(logging.ERROR, logger.name):
        assert presented(tls, authority) == first
    assert caplog.messages == ["The certificate cannot be read: SSLError"]

    certificate_file.write_bytes(second)
    assert presented(tls, authority) == second
