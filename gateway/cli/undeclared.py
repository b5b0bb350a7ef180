"""Parameters of a command line that the model does not have: it would ignore them, and answer with its defaults."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from gateway.client import Client, ClientError

SECONDS = 5.0
"""Seconds to wait for the description of a gateway; without one the request is sent unchecked."""


def warnings(names: Iterable[str], route: str, client: Client) -> Iterator[str]:
    """Yield a sentence for each name that the description of the model on ``route`` does not have."""
    unchecked = list(names)
    declared = declared_parameters(client, route) if unchecked else []
    for name in unchecked if declared else []:
        if name not in declared:
            near = difflib.get_close_matches(name, declared, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(declared)}."
            yield f"warning: {name} is not a parameter of this model; {hint}"


def declared_parameters(client: Client, route: str) -> list[str]:
    """Return the keys that a typed model reads; empty for other models, and where the gateway does not describe it."""
    try:
        described = client.description(timeout=SECONDS)
        request = described["paths"][f"/{route.lstrip('/')}"]["post"]["requestBody"]["content"]["multipart/related"]
        name = str(request["schema"]["properties"]["json"]["$ref"]).rpartition("/")[2]
        properties: dict[str, Any] = described["components"]["schemas"][name]["properties"]
    except (ClientError, KeyError, TypeError):
        return []
    return list(map(str, properties))
