"""Webhooks of a real gateway: verified by a receiver as Standard Webhooks say, over TLS, and not lost by SIGKILL."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from gateway.client import Client
from gateway.delivery.signatures import new_secret
from tests.access.certificates import Authority, named
from tests.conftest import Serve
from tests.delivery.receivers import Receiver, receiving
from tests.waiting import eventually


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    authority = Authority(tmp_path)
    with receiving(authority.sign(named(CN="receiver"), "receiver.pem")) as running:
        yield running


@pytest.mark.slow
def test_a_killed_server_delivers_after_its_next_start(serve: Serve, receiver: Receiver, tmp_path: Path) -> None:
    secret, secrets = new_secret(), tmp_path / "secrets"
    secrets.write_text(f"{receiver.origin} {secret}\n")
    secrets.chmod(0o600)
    environment = {
        "GATEWAY_STORE_FOLDER": str(tmp_path / "store"),
        "GATEWAY_WEBHOOK_ORIGINS": receiver.origin,
        "GATEWAY_WEBHOOK_SECRETS_FILE": str(secrets),
        "SSL_CERT_FILE": str(tmp_path / "authority.pem"),
    }
    receiver.answers.append((503, {}))
    server = serve("tests.apps.followed:app", "--workers", "2", **environment)
    with Client(server.url) as client:
        run = client.submit(None, "/quick", {"name": "planted"}, id="scan-17", webhook=f"{receiver.origin}/hook")
        assert run.wait()
    eventually(lambda: "webhook retried" in server.log)
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()
    serve("tests.apps.followed:app", "--workers", "2", **environment)
    eventually(lambda: len(receiver.received) == 2)
    for _, headers, body in receiver.received:
        assert Webhook(secret).verify(body, headers) == {"id": "scan-17", "route": "/quick", "state": "finished"}
    first, second = (headers["webhook-id"] for _, headers, _ in receiver.received)
    assert first == second
