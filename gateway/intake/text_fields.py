"""Parameters that arrive as text by name, in a form or in a query -> the JSON of a request."""

import json
from urllib.parse import parse_qsl

from gateway.config import Settings
from gateway.errors import LimitExceeded, ParameterRefused
from gateway.intake.body import limit_json_size, limit_json_values
from gateway.protocol.faults import pointer
from gateway.protocol.request import decode_text, parse_json

WHOLE = "json"
"""The field that has the JSON itself; other fields are its members."""
WHAT = "The JSON of the parameters"


class Fields:
    """The parameters of one request while they are read: a field ``json``, single fields, or both.

    A model reads a text as the type that it declares. A name that is repeated is a list of its texts, as is the one
    text of a parameter in ``lists``.
    """

    def __init__(self, settings: Settings, lists: frozenset[str] = frozenset(), query: str = "") -> None:
        """Raises ParameterRefused and LimitExceeded for the fields of ``query``."""
        self._settings, self._lists = settings, lists
        self._whole: bytes | None = None
        self._charset: str | None = None
        self._texts: dict[str, list[str]] = {}
        self._size = 0
        for name, text in _pairs(query, settings):
            self.add(name, text.encode())

    def add(self, name: str, value: bytes, charset: str | None = None) -> None:
        """Take a field. Raises BrokenJSON for text that is not in ``charset``, ParameterRefused, LimitExceeded."""
        self._size += len(name) + len(value)
        limit_json_size(self._size, self._settings, WHAT)
        if name != WHOLE:
            self._texts.setdefault(name, []).append(decode_text(value, charset, "A field of the form"))
        elif self._whole is None:
            self._whole, self._charset = value, charset
        else:
            raise ParameterRefused([("", "The field json is there twice; send all parameters in one.")])

    def text(self) -> bytes:
        """Return the JSON in UTF-8: a field ``json`` alone as it is, else an object in the order of the fields.

        Raises BrokenJSON, LimitExceeded, and ParameterRefused for a parameter that is in ``json`` too.
        """
        if self._whole is not None and not self._texts:
            return self._whole if self._charset is None else decode_text(self._whole, self._charset, WHAT).encode()
        members = {name: self._value(name, texts) for name, texts in self._texts.items()}
        if self._whole is not None:
            limit_json_values(self._whole, self._settings, WHAT)
            whole = parse_json(self._whole, self._charset)
            if twice := whole.keys() & members.keys():
                faults = [(pointer((name,)), "It is in json and in a field of its own.") for name in sorted(twice)]
                raise ParameterRefused(faults)
            members = whole | members
        return json.dumps(members, ensure_ascii=False).encode()

    def _value(self, name: str, texts: list[str]) -> str | list[str]:
        if len(texts) > 1 or (name in self._lists and not texts[0].lstrip().startswith("[")):
            return texts
        return texts[0]


def _pairs(query: str, settings: Settings) -> list[tuple[str, str]]:
    """The fields of a query (WHATWG URL 5.1), UTF-8."""
    if not query:
        return []
    try:
        return parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=settings.max_parts, separator="&"
        )
    except UnicodeDecodeError:
        raise ParameterRefused([("", "The query of the address is not UTF-8.")]) from None
    except ValueError:
        raise LimitExceeded("max_parts", settings.max_parts, "fields", what="The query") from None
