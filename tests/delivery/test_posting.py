"""One POST: to the checked address and no other, verified by name, never redirected, and bounded in time."""

import socket
import ssl
from pathlib import Path

import pytest

from gateway.delivery.addresses import CheckedAddress
from gateway.delivery.callbacks import Callback
from gateway.delivery.posting import Reply, post
from tests.access.certificates import Authority, named
from tests.delivery.receivers import receiving, trickling
from tests.ports import free_port

NAME = "hooks.invalid"
"""A name that never resolves (RFC 6761 6.4): a second look-up would fail."""
HEADERS = {"Content-Type": "application/json", "webhook-id": "msg_1"}
PLAIN = ssl.create_default_context()


def here(port: int) -> list[CheckedAddress]:
    return [CheckedAddress(socket.AF_INET, ("127.0.0.1", port))]


def test_the_connection_goes_to_the_checked_address_without_a_second_look_up() -> None:
    with receiving() as receiver:
        callback = Callback.parse(f"http://{NAME}:{receiver.port}/hook?a=b")
        assert post(callback, here(receiver.port), HEADERS, b"{}", PLAIN) == Reply(204)
    ((path, headers, body),) = receiver.received
    assert (path, body) == ("/hook?a=b", b"{}")
    assert headers["Host"] == f"{NAME}:{receiver.port}"
    assert headers["webhook-id"] == "msg_1"


def test_the_certificate_is_verified_against_the_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.sign(named(CN="receiver"), "receiver.pem", NAME)
    context = ssl.create_default_context(cafile=authority.path)
    with receiving(certificate) as receiver:
        for host in (NAME, "127.0.0.1"):
            callback = Callback.parse(f"https://{host}:{receiver.port}/")
            assert post(callback, here(receiver.port), HEADERS, b"{}", context).status == 204
        for host, trust in (("other.invalid", context), (NAME, PLAIN)):
            with pytest.raises(ssl.SSLCertVerificationError):
                post(Callback.parse(f"https://{host}:{receiver.port}/"), here(receiver.port), HEADERS, b"{}", trust)
    assert len(receiver.received) == 2


def test_the_next_address_is_tried_where_one_accepts_no_connection() -> None:
    away = CheckedAddress(socket.AF_INET6, ("::1", free_port(), 0, 0))
    with receiving() as receiver:
        callback = Callback.parse(f"http://{NAME}:{receiver.port}/")
        assert post(callback, [away, *here(receiver.port)], HEADERS, b"{}", PLAIN).status == 204
        with pytest.raises(OSError):
            post(callback, [away], HEADERS, b"{}", PLAIN)
    assert len(receiver.received) == 1


def test_a_redirect_is_a_reply_and_not_followed() -> None:
    with receiving() as receiver, receiving() as elsewhere:
        receiver.answers.append((307, {"Location": f"{elsewhere.origin}/"}))
        callback = Callback.parse(f"{receiver.origin}/")
        assert post(callback, here(receiver.port), HEADERS, b"{}", PLAIN).status == 307
    assert (len(receiver.received), elsewhere.received) == (1, [])


@pytest.mark.parametrize(("text", "seconds"), [("120", 120), ("", 0), ("soon", 0), ("-1", 0), ("٣", 0), ("9999999", 0)])
def test_a_time_to_retry_is_read_in_seconds(text: str, seconds: float) -> None:
    with receiving() as receiver:
        receiver.answers.append((503, {"Retry-After": text.encode().decode("latin-1")}))
        reply = post(Callback.parse(f"{receiver.origin}/"), here(receiver.port), HEADERS, b"{}", PLAIN)
    assert reply == Reply(503, seconds)


@pytest.mark.parametrize("proxy", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    with receiving() as receiver:
        callback = Callback.parse(f"{receiver.origin}/")
        assert post(callback, here(receiver.port), HEADERS, b"{}", PLAIN).status == 204


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 2", b"HTTP/1.1 100 Continue\r\nA: "])
def test_a_response_that_trickles_ends_at_the_limit(beginning: bytes) -> None:
    with trickling(beginning) as port:
        callback = Callback.parse(f"http://127.0.0.1:{port}/")
        with pytest.raises(OSError):
            post(callback, here(port), HEADERS, b"{}", PLAIN, seconds=0.3)


def test_a_handshake_that_trickles_ends_at_the_limit() -> None:
    record = b"\x16\x03\x03\x40\x00"  # the head of a TLS record of 16 KiB (RFC 8446 5.1)
    with trickling(record) as port:
        callback = Callback.parse(f"https://127.0.0.1:{port}/")
        with pytest.raises(OSError):
            post(callback, here(port), HEADERS, b"{}", PLAIN, seconds=0.3)
