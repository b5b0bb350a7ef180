"""Callers: a name, roles and routes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["infer", "read", "write", "delete", "admin"]
"""What a caller may do: request inference; read, add and delete stored studies; ``admin`` includes all of them."""
ROLES: tuple[Role, ...] = get_args(Role)
ANY = "*"
"""In ``routes``: every route."""


@dataclass(frozen=True)
class Caller:
    """An authenticated caller. ``name`` may be logged; ``routes`` limit ``infer`` and nothing else.

    ``reads`` names other callers whose stored studies it may see by DICOMweb.
    """

    name: str
    roles: frozenset[Role] = frozenset()
    routes: tuple[str, ...] = (ANY,)
    reads: tuple[str, ...] = ()

    def may(self, role: Role) -> bool:
        """Return True if the caller has the role; ``admin`` has them all."""
        return role in self.roles or "admin" in self.roles

    def may_use(self, route: str) -> bool:
        """Return True if the caller may use the model on ``route``."""
        return ANY in self.routes or route in self.routes


def roles(words: Iterable[object]) -> frozenset[Role]:
    """Return the roles among ``words``; other words of an issuer are ignored."""
    names = {word for word in words if isinstance(word, str)}
    return frozenset(role for role in ROLES if role in names)
