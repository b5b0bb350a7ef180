"""Certificates made for a test: an authority, certificates that it signs, and a handshake in memory."""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates; ``path`` is its own, as PEM."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        basic = x509.BasicConstraints(ca=True, path_length=0)
        certificate = self._builder(self._name, self._key, basic).sign(self._key, hashes.SHA256())
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(certificate.public_bytes(Encoding.PEM))

    def sign(self, subject: x509.Name, file: str, *hosts: str) -> Path:
        """A certificate for 127.0.0.1 and further names of hosts, and its key in one PEM file."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(subject, key, x509.BasicConstraints(ca=False, path_length=None))
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        names = x509.SubjectAlternativeName([address, *map(x509.DNSName, hosts)])
        certificate = builder.add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        path = self._folder / file
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
        return path

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, basic: x509.BasicConstraints
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(basic, critical=True)
        )


def named(**names: str) -> x509.Name:
    """``named(C="CH", O="Hospital", CN="viewer")`` in the order in which a certificate has them."""
    oids = {"C": NameOID.COUNTRY_NAME, "O": NameOID.ORGANIZATION_NAME, "CN": NameOID.COMMON_NAME}
    return x509.Name([x509.NameAttribute(oids[name], value) for name, value in names.items()])


def handshake(authority: Authority, client: Path | None, server: Path) -> ssl.SSLObject:
    """The server's side of a connection, its handshake done in memory."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.path)
    serving.verify_mode = ssl.CERT_OPTIONAL
    serving.load_cert_chain(server)
    asking = ssl.create_default_context(cafile=authority.path)
    if client is not None:
        asking.load_cert_chain(client)
    ends = [
        asking.wrap_bio(outgoing, incoming, server_hostname="127.0.0.1"),
        serving.wrap_bio(incoming, outgoing, server_side=True),
    ]
    for _ in range(10):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[1]
