"""Who calls: a name, roles and routes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["infer", "read", "write", "delete", "admin"]
"""What a caller may do: ask a model; read, add and delete what is kept; ``admin`` is all of them and the rest."""
ROLES: tuple[Role, ...] = get_args(Role)
ANY = "*"
"""In ``routes``: every route."""


@dataclass(frozen=True)
class Caller:
    """One who has shown who they are. ``name`` may be logged; ``routes`` bound ``infer`` and nothing else."""

    name: str
    roles: frozenset[Role] = frozenset()
    routes: tuple[str, ...] = (ANY,)

    def may(self, role: Role) -> bool:
        """Whether the caller has the role, ``admin`` having them all."""
        return role in self.roles or "admin" in self.roles

    def may_use(self, route: str) -> bool:
        """Whether the caller may ask the model on ``route``."""
        return ANY in self.routes or route in self.routes


def roles(words: Iterable[object]) -> frozenset[Role]:
    """Those of ``words`` that are roles; a foreign issuer's other words mean nothing here."""
    given = {word for word in words if isinstance(word, str)}
    return frozenset(role for role in ROLES if role in given)
