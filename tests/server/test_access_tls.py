"""TLS through real gunicorn: a certificate names its caller, and a foreign one never gets as far as a request."""

import socket
import ssl
import sys
import warnings
from pathlib import Path

import pytest
import requests

from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from gateway.cli import main
from tests.access.certificates import Authority, named
from tests.conftest import Serve, Server
from tests.waiting import PATIENCE

TYPE = "multipart/related; boundary=b"
KEY = new_key()


class Setup:
    """An authority, the server's certificate, and those of three clients."""

    def __init__(self, folder: Path) -> None:
        self.authority, other = Authority(folder), Authority(folder, "other")
        self.server = self.authority.sign(named(CN="server"), "server.pem")
        self.archive = self.authority.sign(named(O="Hospital", CN="archive"), "archive.pem")
        self.unlisted = self.authority.sign(named(O="Hospital", CN="unlisted"), "unlisted.pem")
        self.foreign = other.sign(named(O="Hospital", CN="archive"), "foreign.pem")
        self.callers = folder / "callers.json"
        change(self.callers, lambda _: [CallerEntry(Caller("viewer", frozenset({"infer"})), fingerprint(KEY))])
        words = ["keys", "add", "archive", "--certificate", "CN=archive,O=Hospital", "--file", str(self.callers)]
        assert main(words) == 0

    def post(
        self, server: Server, client: Path | None = None, key: str = "", size: int = 100, **headers: str
    ) -> requests.Response:
        given = {"Content-Type": TYPE, **({"X-API-Key": key} if key else {}), **headers}
        body = b"--b\r\n\r\n{}\r\n--b\r\n\r\n" + bytes(size) + b"\r\n--b--\r\n"
        cert = str(client) if client else None
        verify = str(self.authority.path)
        return requests.post(f"{server.url}/echo", data=body, headers=given, cert=cert, verify=verify, timeout=PATIENCE)

    def who(self, server: Server, client: Path) -> object:
        verify = str(self.authority.path)
        return requests.get(f"{server.url}/who", cert=str(client), verify=verify, timeout=PATIENCE).json()["name"]


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    return Setup(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def strict(serve: Serve, setup: Setup) -> Server:
    """Refuses a connection without a certificate."""
    options = ("--certfile", str(setup.server), "--ca-certs", str(setup.authority.path), "--require-client-certificate")
    return serve("tests.apps.guarded:app", *options, GATEWAY_API_KEYS_FILE=str(setup.callers))


def test_a_verified_certificate_names_its_caller(setup: Setup, strict: Server) -> None:
    assert setup.post(strict, setup.archive, size=5 << 20).status_code == 200
    assert setup.who(strict, setup.archive) == "archive"


def test_a_verified_certificate_that_is_not_listed_is_refused(setup: Setup, strict: Server) -> None:
    answer = setup.post(strict, setup.unlisted)
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert setup.post(strict, setup.unlisted, KEY).status_code == 200  # a key goes before a certificate


@pytest.mark.parametrize("client", ["foreign", "none"])
def test_a_client_without_a_certificate_of_the_authority_does_not_connect(
    setup: Setup, strict: Server, client: str
) -> None:
    with pytest.raises(requests.ConnectionError):
        setup.post(strict, setup.foreign if client == "foreign" else None, KEY)


def test_a_revoked_certificate_opens_no_more_without_a_restart(setup: Setup, strict: Server) -> None:
    before = setup.callers.read_bytes()
    assert main(["keys", "revoke", "archive", "--file", str(setup.callers)]) == 0
    assert setup.post(strict, setup.archive).status_code == 401
    setup.callers.write_bytes(before)
    assert setup.post(strict, setup.archive).status_code == 200


def test_plain_gunicorn_serves_tls_with_the_documented_flags(setup: Setup, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gunicorn", "-c", "python:gateway.gunicorn_conf", "--bind", "127.0.0.1:0"]
    flags = ["--certfile", str(setup.server), "--ca-certs", str(setup.authority.path), "--cert-reqs", "1"]
    environment = {"GATEWAY_API_KEYS_FILE": str(setup.callers)}
    server = Server([*command, *flags, "tests.apps.guarded:app"], tmp_path, environment)
    try:
        assert setup.post(server, key=KEY).status_code == 200  # --cert-reqs 1: a certificate may be left out
        assert setup.who(server, setup.archive) == "archive"
        assert setup.post(server, **{"X-Client-Cert": "CN=archive,O=Hospital"}).status_code == 401
        with pytest.raises(requests.ConnectionError):
            setup.post(server, setup.foreign, KEY)
    finally:
        server.stop()


def test_old_versions_of_tls_are_not_spoken(setup: Setup, strict: Server) -> None:
    context = ssl.create_default_context(cafile=setup.authority.path)
    context.load_cert_chain(setup.archive)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", strict.port), timeout=PATIENCE) as plain, pytest.raises(OSError):
        context.wrap_socket(plain, server_hostname="127.0.0.1").read(1)
