"""The first part of a request, in every charset and in every broken form."""

import codecs
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import BrokenJSON
from gateway.protocol.request import CHARSETS, parse_json

WORDS = {"commande": "mesurer", "seuil": 0.5, "coupes": [1, 2], "vide": None}


@pytest.mark.parametrize("charset", sorted(CHARSETS))
def test_an_object_is_read_in_each_named_charset(charset):
    assert parse_json(json.dumps(WORDS).encode(charset), charset) == WORDS


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "ISO_8859-15", "windows-1252", "UTF-16", "utf-32"])
def test_text_beyond_ascii_is_read_in_its_charset(charset):
    assert parse_json('{"nom": "é"}'.encode(charset), charset) == {"nom": "é"}


@pytest.mark.parametrize("charset", [None, ""])
def test_without_a_charset_it_is_utf_8(charset):
    assert parse_json('{"nom": "é漢"}'.encode(), charset) == {"nom": "é漢"}


@pytest.mark.parametrize("order", ["le", "be"])
@pytest.mark.parametrize("bits", ["16", "32"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_utf_16_and_32_are_read_in_either_byte_order_with_or_without_a_mark(bits, order, mark):
    assert parse_json((mark + '{"a": "漢"}').encode(f"utf-{bits}-{order}"), f"utf-{bits}") == {"a": "漢"}


def test_a_byte_order_mark_before_utf_8_is_ignored():
    assert parse_json(codecs.BOM_UTF8 + b'{"a": 1}', "utf-8") == {"a": 1}


@pytest.mark.parametrize(
    "charset", ["idna", "punycode", "zip", "zlib", "base64", "rot13", "utf-7", "unicode_escape", "x"]
)
def test_a_charset_that_is_not_named_is_refused(charset):
    with pytest.raises(BrokenJSON, match="send the JSON as utf-8"):
        parse_json(b"{}", charset)


BROKEN = {
    "nothing": (b"", "line 1, column 1"),
    "half an object": (b'{"a": ', "line 1, column 7"),
    "two objects": (b"{}{}", "line 1, column 3"),
    "a comma too many": (b'{"a": 1,}', "column 9"),
    "a list": (b"[]", "object"),
    "a text": (b'"a"', "object"),
    "null": (b"null", "object"),
    "NaN": (b'{"a": NaN}', "NaN"),
    "Infinity": (b'{"a": [Infinity]}', "Infinity"),
    "minus Infinity": (b'{"a": -Infinity}', "Infinity"),
    "a float that overflows": (b'{"a": 1e999}', "64-bit"),
    "an integer of many digits": (b'{"a": ' + b"1" * 5000 + b"}", "too many digits"),
    "deep lists": (b'{"a": ' + b"[" * 100_000, "too deep"),
    "deep objects": (b'{"a": ' * 100_000 + b"1" + b"}" * 100_000, "too deep"),
    "half a surrogate pair": (b'{"a": "\\ud83d"}', "surrogate"),
    "half a surrogate pair as a name": (b'{"\\uDE00": 1}', "surrogate"),
    "bytes that are not UTF-8": (b'{"a": "\xe9"}', "byte 7"),
    "a control character in a text": (b'{"a": "\x00"}', "line 1"),
}


@pytest.mark.parametrize(("data", "words"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_json_object_is_refused_with_the_reason(data, words):
    with pytest.raises(BrokenJSON) as caught:
        parse_json(data, None)
    assert words in caught.value.detail


def test_a_whole_surrogate_pair_is_a_character():
    assert parse_json(b'{"a": "\\ud83d\\ude00"}', None) == {"a": "\U0001f600"}


@pytest.mark.parametrize("data", [b'{"name": "DOE^JANE" oops}', b'"DOE^JANE"', b'{"DOE^JANE": NaN}', b'{"DOE^JANE\xff'])
def test_a_refusal_quotes_nothing_of_the_data(data):
    with pytest.raises(BrokenJSON) as caught:
        parse_json(data, None)
    assert "DOE" not in str(caught.value)
    assert "DOE" not in str(caught.value.problem())


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(sorted(CHARSETS)))
def test_any_bytes_give_an_object_or_the_one_error(data, charset):
    try:
        value = parse_json(data, charset)
    except BrokenJSON:
        return
    assert isinstance(value, dict)
