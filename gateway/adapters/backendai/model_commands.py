"""Commands of a batch and names of images: names of models and values of parameters, and never a shell's."""

import json
import re
import shlex
from collections.abc import Collection, Iterator
from typing import Any

DEFAULT = "*"
"""The command that leaves the choice to the server."""
NAMESPACE = "gateway"
"""A prefix that an image may have; alone, it names the model on the route ``/``."""
LONGEST = 4_096
"""Characters of a command: a line of parameters."""
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


def names_of(route: str) -> tuple[str, ...]:
    """Return the names of the model on a route, the shortest first."""
    bare = route.strip("/")
    return (bare, f"{NAMESPACE}/{bare}", route) if bare else (NAMESPACE, route)


def route_of(image: str, routes: Collection[str]) -> tuple[str, str]:
    """Return the route of the model that an image names, and the tag; "" for no such model.

    ``registry.example/stable/lungs:1.2-x86`` is the model on ``/lungs``: registry and namespace do not matter.
    """
    path, _, tag = image.rpartition(":") if ":" in image.rpartition("/")[2] else (image, "", "")
    steps = path.strip("/").split("/")
    for start in range(len(steps)):
        name = "/".join(steps[start:])
        for route in routes:
            if name in names_of(route):
                return route, tag
    return "", tag


def is_version(tag: str, version: str) -> bool:
    """Return True where a tag, as ``1.2`` or ``1.2-x86``, is the version of a model, or names none."""
    return tag in ("", "latest", version) or tag.startswith(f"{version}-") or not version


def read_command(line: str, names: Collection[str]) -> dict[str, Any]:
    """Return the parameters of ``*``, or of ``NAME key=value ...`` with one of the ``names``.

    A value is JSON, or else text. Raises ValueError with a sentence for everything else.
    """
    if len(line) > LONGEST:
        raise ValueError(f"The command has more than {LONGEST} characters.")
    try:
        first, *rest = shlex.split(line) or [""]
    except ValueError:
        raise ValueError("The command has a quotation mark without its end.") from None
    if first != DEFAULT and first not in names:
        raise ValueError(f"This is not a shell: exec is {DEFAULT}, or {min(names, key=len)} with parameters as a=1.")
    return dict(_parameters(rest))


def _parameters(words: list[str]) -> Iterator[tuple[str, Any]]:
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise ValueError("Each word behind the model's name should be a parameter, as threshold=0.5.")
        try:
            yield key, json.loads(text)
        except (ValueError, RecursionError):
            yield key, text
