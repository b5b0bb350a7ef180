"""The Prefer field of a request (RFC 7240)."""

import re

ITEM = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
"""What stands between two commas; one within quotes separates nothing (RFC 9110 5.6.1)."""
PREFERENCE = re.compile(r'\s*([!#$%&\'*+.^_`|~0-9a-z-]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*)?(?:;.*)?', re.I)
"""A token, its value, and its parameters, which nothing here has (RFC 7240 2)."""
RESPOND_ASYNC, WAIT = "respond-async", "wait"


def preferences(text: str) -> dict[str, str]:
    """Return the values of the preferences by their names in lower case; the first of a name counts (RFC 7240 2).

    What is malformed is left out: a server may ignore any preference.
    """
    values: dict[str, str] = {}
    for item in ITEM.findall(text):
        match = PREFERENCE.fullmatch(item)
        if match is not None:
            values.setdefault(match[1].lower(), (match[2] or "").strip('"'))
    return values


def asynchronous(text: str) -> float | None:
    """Return the seconds that a client waits before it takes 202 for an answer; None if it does not take that."""
    values = preferences(text)
    if RESPOND_ASYNC not in values:
        return None
    wait = values.get(WAIT, "")
    return float(wait) if wait.isascii() and wait.isdigit() else 0.0
