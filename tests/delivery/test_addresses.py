"""Addresses that a webhook may connect to: those of the internet, and those whose own origin is listed."""

import ipaddress

import pytest

from gateway.delivery.addresses import AddressForbidden, checked_addresses, is_public, may_connect
from gateway.delivery.callbacks import Callback


@pytest.mark.parametrize("text", ["1.1.1.1", "9.9.9.9", "2606:4700:4700::1111", "64:ff9b::1.1.1.1", "::ffff:1.1.1.1"])
def test_an_address_of_the_internet_is_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.168.0.1",
        "198.18.0.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:0.0.0.0",
        "::ffff:169.254.169.254",
        "64:ff9b::127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "100::1",
        "2001:db8::1",
        "2001::1",
        "2002:7f00:1::",
        "2002:0a00:0001::1",
        "4000::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_any_other_address_is_not(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


def test_a_private_address_needs_an_origin_of_its_own_on_the_list() -> None:
    callback = Callback.parse("https://hooks.example.org:8443/")
    named = {"https://hooks.example.org:8443"}
    assert may_connect("1.1.1.1", callback, named)
    assert not may_connect("10.0.0.5", callback, named)
    for other in ("http://10.0.0.5:8443", "https://10.0.0.5", "https://10.0.0.6:8443"):
        assert not may_connect("10.0.0.5", callback, named | {other})
    assert may_connect("10.0.0.5", callback, named | {"https://10.0.0.5:8443"})
    assert may_connect("fd00::5", callback, named | {"https://[fd00::5]:8443"})


def test_a_name_that_leads_to_this_machine_is_forbidden_unless_that_address_is_listed() -> None:
    callback = Callback.parse("http://localhost:8080/")
    with pytest.raises(AddressForbidden):
        checked_addresses(callback, {callback.origin})
    (address,) = checked_addresses(callback, {callback.origin, "http://127.0.0.1:8080"})
    assert address.place == ("127.0.0.1", 8080)


def test_a_listed_address_is_connected_to_as_it_is() -> None:
    callback = Callback.parse("http://127.0.0.1:8080/")
    (address,) = checked_addresses(callback, {callback.origin})
    assert address.place == ("127.0.0.1", 8080)
