"""URLs of webhooks: one strict form, hosts in one form each, and origins that are allowed."""

import pytest

from gateway.delivery.callbacks import Callback, allowed_origins
from gateway.errors import WebhookRefused


@pytest.mark.parametrize(
    ("url", "origin", "target"),
    [
        ("https://hooks.example.org/a?b=c", "https://hooks.example.org", "/a?b=c"),
        ("https://hooks.example.org", "https://hooks.example.org", "/"),
        ("https://hooks.example.org?x", "https://hooks.example.org", "/?x"),
        ("HTTPS://Hooks.Example.ORG:443/", "https://hooks.example.org", "/"),
        ("http://hooks.example.org:443/", "http://hooks.example.org:443", "/"),
        ("https://10.0.0.5:8443/x", "https://10.0.0.5:8443", "/x"),
        ("https://[2001:DB8:0:0::1]:8443/x", "https://[2001:db8::1]:8443", "/x"),
        ("https://[::ffff:10.0.0.5]/", "https://[::ffff:a00:5]", "/"),
        ("https://xn--bcher-kva.example/%C3%BC", "https://xn--bcher-kva.example", "/%C3%BC"),
        ("https://hook_receiver:8443/", "https://hook_receiver:8443", "/"),
        ("https://example.org/@127.0.0.1/", "https://example.org", "/@127.0.0.1/"),
    ],
)
def test_a_url_is_read_into_its_origin_and_target(url: str, origin: str, target: str) -> None:
    callback = Callback.parse(url)
    assert (callback.origin, callback.target) == (origin, target)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.org/a",
        "//hooks.example.org/a",
        "ftp://hooks.example.org/",
        "file:///etc/passwd",
        "gopher://hooks.example.org/",
        "https:hooks.example.org",
        "https:///a",
        "https://user@hooks.example.org/",
        "https://user:secret@hooks.example.org/",
        "https://hooks.example.org@127.0.0.1/",
        "https://hooks.example.org#@127.0.0.1/",
        "https://hooks.example.org/#fragment",
        "https://hooks.example.org\\@127.0.0.1/",
        "https://hooks.example.org/a b",
        "https://hooks.example.org/\r\nHost: other",
        "https://hooks.example.org/a\n",
        " https://hooks.example.org/",
        "https://hooks.example.org\t/",
        "https://bücher.example/",
        "https://127。0。0。1/",
        "https://①②⑦.0.0.1/",
        "https://hooks.example.org./",
        "https://hooks..example.org/",
        "https://-hooks.example.org/",
        "https://hooks.example.org:0/",
        "https://hooks.example.org:65536/",
        "https://hooks.example.org:443x/",
        "https://hooks.example.org:٤٤٣/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0X7F.0.0.1/",
        "https://017700000001/",
        "https://127.1/",
        "https://127.0.0.01/",
        "https://256.0.0.1/",
        "https://hooks.example.0x7f/",
        "https://[::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[::1/",
        "https://[1.2.3.4]/",
        "https://[::g]/",
        f"https://hooks.example.org/{'a' * 2048}",
    ],
)
def test_any_other_form_is_refused(url: str) -> None:
    with pytest.raises(WebhookRefused) as refused:
        Callback.parse(url)
    assert (refused.value.status, refused.value.code) == (422, "webhook-refused")


def test_the_target_is_not_in_the_repr() -> None:
    assert "secret" not in repr(Callback.parse("https://hooks.example.org/secret"))


def test_the_setting_lists_origins_in_any_spelling() -> None:
    setting = "https://Hooks.example.org:443, http://127.0.0.1:8080 https://[::1]/"
    assert allowed_origins(setting) == {"https://hooks.example.org", "http://127.0.0.1:8080", "https://[::1]"}
    assert not allowed_origins("")


@pytest.mark.parametrize(
    "setting", ["*", "hooks.example.org", "https://hooks.example.org/path", "https://*.example.org"]
)
def test_an_entry_that_is_no_origin_is_refused_by_its_number(setting: str) -> None:
    with pytest.raises(ValueError, match="entry 2"):
        allowed_origins(f"https://hooks.example.org {setting}")
