"""From the file of a wrapper to its class, among the helper modules beside it."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

REQUIRED = ("wrapperInit", "wrapperOnceExec", "wrapperFini")


def load_class(path: Path) -> tuple[type[Any], ModuleType]:
    """Return the class ``Wrapper`` in the file ``path``, and its module. To be called inside ``at_home``.

    Raises what importing the file raises, ImportError without such a class, NotImplementedError naming the missing
    verbs.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
        return _wrapper_class(module, path.name), module
    except BaseException:
        sys.modules.pop(path.stem, None)
        raise


def overrides(cls: type[Any], verb: str) -> bool:
    """Return True if a wrapper defines this verb itself."""
    base = import_module("aiges.sdk").WrapperBase
    return getattr(cls, verb, None) is not getattr(base, verb, None)


def is_stream(cls: type[Any]) -> bool:
    """Return True if a wrapper opens sessions and accepts requests in them; demos define the first verb only."""
    return overrides(cls, "wrapperCreate") and overrides(cls, "wrapperWrite")


@contextmanager
def at_home(folder: Path) -> Iterator[None]:
    """Run with ``folder`` as AIGES does: as the working folder, and first on the path.

    A wrapper has helper modules of its own: one of the same name that was loaded from elsewhere is removed meanwhile.
    """
    before, names = Path.cwd(), _modules_of(folder)
    aside = {name: module for name, module in sys.modules.items() if _clashes(name, module, names, folder)}
    for name in aside:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))
        clashed = {name.partition(".")[0] for name in aside}
        for name in [name for name in sys.modules if name.partition(".")[0] in clashed]:
            del sys.modules[name]
        sys.modules.update(aside)


def _wrapper_class(module: ModuleType, file: str) -> type[Any]:
    cls = getattr(module, "Wrapper", None)
    base = import_module("aiges.sdk").WrapperBase
    if not isinstance(cls, type) or not issubclass(cls, base):
        raise ImportError(f"{file} has no class Wrapper(WrapperBase)")
    if missing := [verb for verb in REQUIRED if not overrides(cls, verb)]:
        raise NotImplementedError(f"the Wrapper in {file} should have {', '.join(missing)}")
    return cls


def _modules_of(folder: Path) -> set[str]:
    """Return the modules in a folder by name, except those that Python or the gateway needs."""
    names = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    return names - sys.stdlib_module_names - {"gateway", "__main__"}


def _clashes(name: str, module: Any, names: set[str], folder: Path) -> bool:
    if name.partition(".")[0] not in names:
        return False
    file = getattr(module, "__file__", None)
    return file is None or not Path(file).is_relative_to(folder)
