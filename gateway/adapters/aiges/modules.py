"""The modules ``aiges.sdk`` and its siblings, supplied by this package while a wrapper is loaded.

The finder stands last, so that imports inside ``wrapperInit`` and later work too, and gives each module a fresh
namespace filled from here. Where aiges itself is installed, it is used instead.
"""

import importlib
import sys
import threading
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

LEAKED = ("base64", "json", "os", "queue", "sys", "threading", "time")
"""Standard modules that the original's ``import *`` supplies too; wrappers rely on it."""

SOURCES: dict[str, tuple[str, ...]] = {
    "aiges": (),
    "aiges.core": (),
    "aiges.utils": (),
    "aiges.core.types": ("constants",),
    "aiges.types": ("constants",),
    "aiges.dto": ("constants", "data"),
    "aiges.utils.log": ("log",),
    "aiges.stream": ("constants", "stream", "log"),
    "aiges.sdk": ("constants", "data", "log", "fields", "stream", "base"),
}
"""The modules here whose names fill each module of aiges."""
PACKAGES = frozenset({"aiges", "aiges.core", "aiges.utils"})


class _Modules(MetaPathFinder, Loader):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=name in PACKAGES) if name in SOURCES else None

    def exec_module(self, module: ModuleType) -> None:
        names = _names(module.__name__)
        vars(module).update(names, __all__=sorted(names))


def _names(module: str) -> dict[str, Any]:
    """Return the public names of a module of aiges."""
    if not SOURCES[module]:
        return {}
    names: dict[str, Any] = {name: importlib.import_module(name) for name in LEAKED}
    for source in SOURCES[module]:
        ours = vars(importlib.import_module(f"{__package__}.{source}"))
        names |= {name: ours[name] for name in ours.get("__all__", ours) if not name.startswith("_")}
    return names


_finder = _Modules()
_users = 0
_lock = threading.Lock()


def acquire() -> bool:
    """Make the modules importable, for one more wrapper; return False if aiges itself is installed."""
    global _users
    with _lock:
        if not _users and find_spec("aiges") is not None:
            return False
        if not _users:
            sys.meta_path.append(_finder)
        _users += 1
        return True


def release() -> None:
    """Count one wrapper less; remove the modules of aiges after the last one."""
    global _users
    with _lock:
        _users -= 1
        if _users:
            return
        sys.meta_path.remove(_finder)
        for name in SOURCES:
            if getattr(sys.modules.get(name), "__loader__", None) is _finder:
                del sys.modules[name]
