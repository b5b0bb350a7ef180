"""``new``: a folder with a typed model, its test, its requirements, its container and the gateway as a wheel."""

import builtins
import keyword
import re
import shutil
import sys
from importlib.resources import files
from pathlib import Path
from string import Template

import gateway
from gateway.cli import wheels
from gateway.errors import GatewayError

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
FILES = {
    "model.py": "model.py.txt",
    "test_model.py": "test_model.py.txt",
    "requirements.txt": "requirements.txt",
    "Dockerfile": "Dockerfile.txt",
    "app.json": "app.json.txt",
    "pkg.json": "pkg.json.txt",
    "README.md": "README.md.txt",
}
"""The files to write, and the template of each."""


TEMPLATE = frozenset({"app", "ct", "gateway", "model", "pydantic", "pytest", "test", "test_model", "threshold"})
"""Names that the written files use themselves."""
WINDOWS = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]")
"""Devices, which can be no folder there (Naming Files, Paths, and Namespaces)."""


class BadName(GatewayError):
    """An invalid or used name of a model."""


def write(name: str, folder: Path, source: str | None = None) -> Path:
    """Write ``folder/name``; nothing is overwritten. Raises BadName, NotPackable, OSError.

    ``source`` is the checkout or wheel that the requirements take the gateway from; unset, the one that runs now.
    """
    if reason := _refusal(name):
        raise BadName(f"{name!r} cannot be the name of a model: {reason}")
    target = folder / name
    if target.exists() or target.is_symlink():
        raise BadName(f"{name} exists already; nothing was written. Choose another name, or remove it.")
    target.mkdir(parents=True)
    try:
        values = {"name": name, "title": name.replace("_", " ").capitalize(), "wheel": _wheel(source, target)}
        for file, template in FILES.items():
            (target / file).write_text(Template(_template(template)).substitute(values), encoding="utf-8")
    except (OSError, GatewayError):
        shutil.rmtree(target, ignore_errors=True)  # an incomplete folder would block the next try
        raise
    return target


def _refusal(name: str) -> str:
    """Return why no folder, function and module can have this name; "" where they can."""
    if not NAME.fullmatch(name):
        return "use lower-case letters, digits and underscores, a letter first, at most 40."
    if keyword.iskeyword(name) or keyword.issoftkeyword(name) or hasattr(builtins, name):
        return "it means something else in Python; choose another."
    if name in sys.stdlib_module_names:
        return "a module of Python's standard library has it; choose another."
    if WINDOWS.fullmatch(name):
        return "Windows keeps it for a device; choose another."
    return "the files of a new model use it themselves; choose another." if name in TEMPLATE else ""


def _wheel(source: str | None, target: Path) -> str:
    """Put the gateway into ``target`` as a wheel, where the container's build finds it; return its name."""
    root = Path(source) if source is not None else Path(gateway.__file__).parents[1]
    if root.is_dir():
        return wheels.pack(root, target)
    if root.suffix != ".whl":
        raise wheels.NotPackable(f"{root} is neither a wheel nor a checkout of the gateway; name one of these.")
    shutil.copyfile(root, target / root.name)
    return root.name


def _template(name: str) -> str:
    return files("gateway.cli").joinpath("templates", name).read_text("utf-8")
