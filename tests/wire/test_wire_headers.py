"""Header fields and their parameters, those of real clients and those of hostile ones."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import BrokenBody
from gateway.wire import Headers, parse_options_header


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ("", {})),
        ("text/plain", ("text/plain", {})),
        (" Text/Plain ;", ("text/plain", {})),
        ("multipart/related; boundary=abc", ("multipart/related", {"boundary": "abc"})),
        ("Multipart/Related;BOUNDARY=AbC", ("multipart/related", {"boundary": "AbC"})),
        ('a/b; boundary="a b;=\\"c\\\\"', ("a/b", {"boundary": 'a b;="c\\'})),
        ("a/b; type=application/dicom; boundary====x", ("a/b", {"type": "application/dicom", "boundary": "===x"})),
        ('a/b; type="application/json"; start="<x@y>"', ("a/b", {"type": "application/json", "start": "<x@y>"})),
        ("a/b ; ; charset = UTF-8 ;", ("a/b", {"charset": "UTF-8"})),
        (
            'form-data; name="json-body"; filename="ü %22.dcm"',
            ("form-data", {"name": "json-body", "filename": "ü %22.dcm"}),
        ),
        ("attachment; filename*=UTF-8''%e2%82%ac", ("attachment", {"filename*": "UTF-8''%e2%82%ac"})),
        ("attachment; filename*0=a; filename*1=b", ("attachment", {"filename*0": "a", "filename*1": "b"})),
        ('a/b; x=""; y=', ("a/b", {"x": "", "y": ""})),
        ("a/b;\r\n boundary=c", ("a/b", {"boundary": "c"})),
        ("; a=b", ("", {"a": "b"})),
    ],
)
def test_parameters_are_read_as_clients_write_them(value, expected):
    assert parse_options_header(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        'a/b; c="d',
        'a/b; c="d\\',
        'a/b; c="d"e',
        'a/b; c=d"e"',
        "a/b; c=d e",
        "a/b; c",
        "a/b; =d",
        "a/b; c d=e",
        "a/b; ü=d",
        "a/b; c=d; C=e",
        "a/b; boundary=x, a/b; boundary=y",
    ],
)
def test_parameters_with_two_readings_are_refused(value):
    with pytest.raises(BrokenBody):
        parse_options_header(value)


@settings(deadline=None)
@given(st.text(alphabet=' \t\r\n;="\\ab*\x00\u00fc\u2028') | st.text())
def test_any_value_is_read_or_refused(value):
    try:
        word, parameters = parse_options_header(value)
    except BrokenBody:
        return
    assert word == value.partition(";")[0].strip().lower()
    assert all(name == name.lower() for name in parameters)


@settings(deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9*-]{0,8}", fullmatch=True), st.text()))
def test_quoted_values_are_read_back(parameters):
    quoted = {name: '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for name, value in parameters.items()}
    header = "a/b" + "".join(f"; {name}={value}" for name, value in quoted.items())
    assert parse_options_header(header) == ("a/b", parameters)


def test_headers_are_found_in_any_case_and_spelt_as_they_were_sent():
    headers = Headers((("Content-TYPE", "a/b"), ("X", "1"), ("x", "2")))
    assert headers.get("content-type") == headers.get("CONTENT-type") == "a/b"
    assert headers.get("x") == "1"
    assert headers.get("y") is None
    assert headers.get("y", "z") == "z"
    assert list(headers) == [("Content-TYPE", "a/b"), ("X", "1"), ("x", "2")]
    assert len(headers) == 3
