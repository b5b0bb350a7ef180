"""Parameters inside a header field's value (RFC 2045 5.1, RFC 9110 5.6.6)."""

import re

from gateway.errors import BrokenBody

# Possessive quantifiers: a hostile value fails at once instead of being tried in every other way.
_PARAMETER = re.compile(
    r"\s*+;\s*+(?:(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]++)\s*+=\s*+"
    r'(?:"(?P<quoted>[^"\\]*+(?:\\.[^"\\]*+)*+)"|(?P<bare>[^\s;"]*+)))?\s*+(?=;|\Z)',
    re.DOTALL,
)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


def parse_options_header(value: str) -> tuple[str, dict[str, str]]:
    """Split a Content-Type or Content-Disposition: ``'A/b; C="d"'`` to ``('a/b', {'c': 'd'})``.

    The first word and the parameters' names come in lower case. A value may be quoted, with backslash escapes, or bare;
    a bare one may hold the ``/`` and ``=`` that Orthanc and others leave unquoted. ``name*`` (RFC 2231) is a name like
    any other. Raises BrokenBody for a parameter that is malformed or given twice.
    """
    word, _, _ = value.partition(";")
    position, parameters = len(word), dict[str, str]()
    while position < len(value):
        match = _PARAMETER.match(value, position)
        if match is None:
            raise BrokenBody('A Content header has a malformed parameter; write name=value, or name="value" in quotes.')
        position = match.end()
        if match["name"] is not None:
            _add(parameters, match["name"].lower(), match)
    return word.strip().lower(), parameters


def _add(parameters: dict[str, str], name: str, match: re.Match[str]) -> None:
    if name in parameters:
        raise BrokenBody("A Content header gives one parameter twice; give each once.")
    quoted = match["quoted"]
    parameters[name] = match["bare"] if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
