"""The Prefer field (RFC 7240)."""

import pytest

from gateway.protocol.preferences import asynchronous, preferences

FIELDS: dict[str, dict[str, str]] = {
    "": {},
    "respond-async, wait=10": {"respond-async": "", "wait": "10"},
    'Lenient;x="y", Wait = "7" ; a=b': {"lenient": "", "wait": "7"},
    "wait=1, wait=2": {"wait": "1"},
    'foo; bar, foo=""': {"foo": ""},
    "respond async, ,=,;": {},
    'a="b, respond-async, c", d;e=",f"': {"a": "b, respond-async, c", "d": ""},
    'a="b\\", respond-async, c", d': {"a": 'b\\", respond-async, c', "d": ""},
    'd, a="b, respond-async': {"d": ""},
}


@pytest.mark.parametrize("text", FIELDS)
def test_the_first_value_of_each_name_counts_and_what_is_malformed_is_left_out(text: str) -> None:
    assert preferences(text) == FIELDS[text]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("respond-async", 0),
        ("RESPOND-ASYNC, wait=10", 10),
        ("wait=10", None),
        ("respond-async;wait=10", 0),
        ("respond-async, wait=-1", 0),
        ("respond-async, wait=soon", 0),
        ("x-respond-async", None),
    ],
)
def test_a_client_that_takes_202_may_wait_first(text: str, seconds: float | None) -> None:
    assert asynchronous(text) == seconds


def test_a_long_field_is_read_in_linear_time() -> None:
    assert preferences("a=" + '"\\' * 30_000) == {}
    assert preferences('"a' * 30_000) == {}
    assert len(preferences(",".join(f"p{n}" for n in range(5_000)))) == 5_000
