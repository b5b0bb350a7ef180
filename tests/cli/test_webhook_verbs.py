"""``webhooks``: secrets for receivers, and dead webhooks that are listed and tried again."""

import json
import stat
from pathlib import Path

import pytest

from gateway.client import Client
from gateway.delivery.signatures import parse_secrets
from tests.cli.conftest import Run
from tests.conftest import Serve
from tests.delivery.receivers import receiving
from tests.waiting import eventually

ORIGIN = "https://hooks.example.org"


def test_a_secret_is_added_to_a_private_file_and_printed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secrets"
    monkeypatch.setenv("GATEWAY_WEBHOOK_SECRETS_FILE", str(path))
    first = run("webhooks", "secret", ORIGIN)
    assert first.status == 0, first.err
    path.write_text(path.read_text().rstrip("\n"))
    second = run("webhooks", "secret", f"{ORIGIN}:443/")
    assert path.read_text() == f"{ORIGIN} {first.out}{ORIGIN} {second.out}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(parse_secrets(path.read_bytes())[ORIGIN]) == 2
    for wrong in ("hooks.example.org", f"{ORIGIN}/path", f"{ORIGIN} https://other.example"):
        assert run("webhooks", "secret", wrong).status == 2


def test_without_a_file_or_a_store_it_is_wrong_usage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEWAY_WEBHOOK_SECRETS_FILE", raising=False)
    monkeypatch.delenv("GATEWAY_STORE_FOLDER", raising=False)
    for words in (["secret", ORIGIN], ["list"], ["retry", "--all"], ["retry"]):
        assert run("webhooks", *words).status == 2


@pytest.mark.slow
def test_a_dead_webhook_is_listed_and_tried_again_by_a_running_gateway(
    run: Run, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as receiver:
        receiver.answers.append((410, {}))
        for name in ("STORE_FOLDER", "WEBHOOK_SECRETS_FILE"):
            monkeypatch.setenv(f"GATEWAY_{name}", str(tmp_path / name))
        assert run("webhooks", "secret", receiver.origin).status == 0
        server = serve("tests.apps.followed:app", GATEWAY_WEBHOOK_ORIGINS=receiver.origin)
        with Client(server.url) as client:
            client.submit(None, "/quick", {}, id="dead", webhook=f"{receiver.origin}/?token=planted").wait()
        eventually(lambda: "status-410" in run("webhooks", "list").out)
        (line,) = run("webhooks", "list").out.splitlines()
        (words,) = json.loads(run("webhooks", "list", "--json").out)
        assert line.split("\t")[:4] == [words["id"], "dead", "1", "status-410"]
        assert (words["run"], words["route"], words["origin"]) == ("dead", "/quick", receiver.origin)
        assert "planted" not in line + str(words)
        assert run("webhooks", "retry", "msg_unknown").status == 2
        assert run("webhooks", "retry", words["id"]).out == "retry   1 webhook\n"
        eventually(lambda: len(receiver.received) == 2)
        eventually(lambda: run("webhooks", "list", "--state", "delivered").out.count("\n") == 1)
        assert run("webhooks", "list").out == ""
