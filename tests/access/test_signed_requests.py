"""Signatures of Backend.AI's API: a vector of its client, and what is not accepted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.access.callers import Caller
from gateway.access.key_pairs import KeyPair, KeyPairs, change, dump, parse
from gateway.access.signed_requests import SKEW_SECONDS, Proof, SignedHead
from gateway.cli import main
from gateway.errors import Forbidden, Unauthenticated

PAIR = KeyPair(
    Caller("alice", frozenset({"infer"}), ("/lungs",)),
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
)
VERSION = "v6.20220315"


def environ(pair: KeyPair = PAIR, *, sign_as: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """A signed WSGI request; ``changes`` come after it is signed, ``sign_as`` before."""
    head = SignedHead(
        "POST", "/backendai/session/a?x=1", datetime.now(UTC).isoformat(), "localhost", "application/json", VERSION
    )
    signature = replace(head, **sign_as or {}).signature(pair.secret_key)
    return {
        "REQUEST_METHOD": head.method,
        "RAW_URI": head.target,
        "HTTP_DATE": (sign_as or {}).get("date", head.date),
        "HTTP_HOST": head.host,
        "CONTENT_TYPE": head.media_type,
        "HTTP_X_BACKENDAI_VERSION": head.version,
        "HTTP_AUTHORIZATION": f"BackendAI signMethod=HMAC-SHA256, credential={pair.access_key}:{signature}",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
    } | changes


@pytest.fixture
def pairs(tmp_path: Path) -> KeyPairs:
    change(tmp_path / "pairs.json", lambda _: [PAIR])
    return KeyPairs(tmp_path / "pairs.json")


def test_a_signature_is_that_of_the_client_s_own_code() -> None:
    """By generate_signature of backend.ai-client 23.9.10."""
    head = SignedHead(
        *("GET", "/session/mysess", "2022-03-15T01:02:03+00:00", "127.0.0.1:8081", "application/json", VERSION)
    )
    assert head.signature(PAIR.secret_key) == "79835b62f7e2aaa3fef203d2670acf23c290062bee957245ef18c0a4361b3215"


def test_a_signed_request_has_the_caller_of_its_key_pair(pairs: KeyPairs) -> None:
    assert pairs.caller(environ()) == PAIR.caller
    assert pairs.caller(environ(CONTENT_TYPE="Application/JSON; charset=utf-8")) == PAIR.caller


def test_a_default_port_may_be_signed_that_is_not_sent(pairs: KeyPairs) -> None:
    assert pairs.caller(environ(sign_as={"host": "localhost:80"})) == PAIR.caller
    assert pairs.caller(environ(sign_as={"host": "localhost:443"}, **{"wsgi.url_scheme": "https"})) == PAIR.caller


def test_a_request_without_a_media_type_is_signed_as_binary(pairs: KeyPairs) -> None:
    signed = {"media_type": "application/octet-stream"}
    assert pairs.caller(environ(sign_as=signed, CONTENT_TYPE="")) == PAIR.caller


@pytest.mark.parametrize(
    "changes",
    [
        {"REQUEST_METHOD": "DELETE"},
        {"RAW_URI": "/backendai/session/b?x=1"},
        {"RAW_URI": "/backendai/session/a?x=2"},
        {"HTTP_HOST": "localhost:81"},
        {"CONTENT_TYPE": "text/plain"},
        {"HTTP_X_BACKENDAI_VERSION": "v7.20230615"},
        {"HTTP_DATE": (datetime.now(UTC) + timedelta(seconds=1)).isoformat()},
        {"HTTP_DATE": ""},
        {"HTTP_DATE": "Sun, 06 Nov 1994 08:49:37 GMT"},
        {"HTTP_AUTHORIZATION": ""},
        {"HTTP_AUTHORIZATION": "Bearer gw_abc"},
        {"HTTP_AUTHORIZATION": f"BackendAI signMethod=HMAC-MD5, credential={PAIR.access_key}:{'0' * 64}"},
        {"HTTP_AUTHORIZATION": f"BackendAI signMethod=HMAC-SHA256, credential=AKIAUNKNOWN000000000:{'0' * 64}"},
    ],
)
def test_what_differs_from_what_was_signed_is_not_accepted(pairs: KeyPairs, changes: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated) as refused:
        pairs.caller(environ(**changes))
    assert refused.value.headers()["WWW-Authenticate"].startswith("BackendAI realm=")


@pytest.mark.parametrize("offset", [-SKEW_SECONDS - 5, SKEW_SECONDS + 5])
def test_a_clock_may_differ_by_15_minutes(pairs: KeyPairs, offset: float) -> None:
    almost = datetime.now(UTC) + timedelta(seconds=offset * 0.9)
    assert pairs.caller(environ(sign_as={"date": almost.isoformat()})) == PAIR.caller
    with pytest.raises(Unauthenticated):
        pairs.caller(environ(sign_as={"date": (datetime.now(UTC) + timedelta(seconds=offset)).isoformat()}))


def test_the_day_of_a_signature_is_that_of_its_own_time_zone(pairs: KeyPairs) -> None:
    from datetime import timezone

    for hours in (-12, 14):
        date = datetime.now(UTC).astimezone(timezone(timedelta(hours=hours))).isoformat()
        assert pairs.caller(environ(sign_as={"date": date})) == PAIR.caller


def test_signed_requests_need_tls_or_this_machine(pairs: KeyPairs) -> None:
    with pytest.raises(Forbidden):
        pairs.caller(environ(REMOTE_ADDR="192.0.2.1"))
    assert pairs.caller(environ(REMOTE_ADDR="192.0.2.1", **{"wsgi.url_scheme": "https"})) == PAIR.caller
    assert pairs.caller(environ(REMOTE_ADDR="")) == PAIR.caller  # a Unix socket


def test_an_expired_pair_is_not_accepted(tmp_path: Path) -> None:
    expired = replace(PAIR, expires=datetime.now(UTC) - timedelta(seconds=1))
    change(tmp_path / "pairs.json", lambda _: [expired])
    with pytest.raises(Unauthenticated):
        KeyPairs(tmp_path / "pairs.json").caller(environ(expired))


def test_another_spelling_of_a_credential_is_the_same_signature_or_refused() -> None:
    request = environ()
    words = request["HTTP_AUTHORIZATION"].replace(", ", ",").replace("BackendAI ", "BackendAI   ")
    assert Proof.of(request).digest == Proof.of(request | {"HTTP_AUTHORIZATION": words}).digest
    with pytest.raises(Unauthenticated):
        Proof.of(request | {"HTTP_AUTHORIZATION": request["HTTP_AUTHORIZATION"].upper()})


def test_a_file_of_key_pairs_is_read_as_it_is_written() -> None:
    dated = replace(PAIR, access_key="AKIAIOSFODNN7EXAMPL2", expires=datetime.now(UTC))
    assert parse(dump([PAIR, dated])) == (PAIR, dated)


@pytest.mark.parametrize(
    "wrong",
    [b"", b"[]", b'{"version": 2, "pairs": []}', dump([PAIR, PAIR]), dump([PAIR]).replace(b"infer", b"infra")],
)
def test_a_wrong_file_is_refused_without_its_keys(wrong: bytes) -> None:
    with pytest.raises(ValueError, match=r"file of key pairs cannot be read") as refused:
        parse(wrong)
    assert PAIR.secret_key not in str(refused.value)


def test_a_file_that_others_may_read_is_refused(pairs: KeyPairs, tmp_path: Path) -> None:
    pairs.check()
    (tmp_path / "pairs.json").chmod(0o640)
    with pytest.raises(ValueError, match="chmod 600"):
        pairs.check()


def test_the_command_adds_lists_and_revokes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "pairs.json"
    assert main(["key-pairs", "add", "alice", "--routes", "/lungs", "--expires", "9d", "--file", str(file)]) == 0
    access, secret = capsys.readouterr().out.split()
    (pair,) = parse(file.read_bytes())
    assert (pair.access_key, pair.secret_key, pair.caller) == (access, secret, PAIR.caller)
    assert file.stat().st_mode & 0o777 == 0o600
    assert main(["key-pairs", "list", "--file", str(file)]) == 0
    listed = capsys.readouterr().out
    assert f"{access}  alice  infer  /lungs  until " in listed
    assert secret not in listed
    assert main(["key-pairs", "revoke", access, "--file", str(file)]) == 0
    assert main(["key-pairs", "revoke", access, "--file", str(file)]) == 1
    assert parse(file.read_bytes()) == ()
