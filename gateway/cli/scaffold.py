"""``new``: a folder with a typed model, its test, its requirements and its container."""

import keyword
import re
import shutil
from importlib.resources import files
from pathlib import Path
from string import Template

import gateway
from gateway.errors import GatewayError

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
FILES = {
    "model.py": "model.py.txt",
    "test_model.py": "test_model.py.txt",
    "requirements.txt": "requirements.txt",
    "Dockerfile": "Dockerfile.txt",
    "README.md": "README.md.txt",
}
"""The files to write, and the template of each."""


class BadName(GatewayError):
    """An invalid or used name of a model."""


def write(name: str, folder: Path, source: str | None = None) -> Path:
    """Write ``folder/name``; nothing is overwritten. Raises BadName, OSError.

    ``source`` is the folder or wheel that the requirements take the gateway from; unset, the one that runs now.
    """
    if not NAME.fullmatch(name) or keyword.iskeyword(name) or name in ("gateway", "model", "test"):
        raise BadName(f"{name} is no valid model name: use lower-case letters, digits and underscores, at most 40.")
    target = folder / name
    if target.exists() or target.is_symlink():
        raise BadName(f"{name} exists already; nothing was written. Choose another name, or remove it.")
    values = {"name": name, "title": name.replace("_", " ").capitalize(), "requirement": _requirement(source)}
    values["function"] = name
    texts = {file: Template(_template(template)).substitute(values) for file, template in FILES.items()}
    target.mkdir(parents=True)
    try:
        for file, text in texts.items():
            (target / file).write_text(text, encoding="utf-8")
    except OSError:
        shutil.rmtree(target, ignore_errors=True)  # an incomplete folder would block the next try
        raise
    return target


def _template(name: str) -> str:
    return files("gateway.cli").joinpath("templates", name).read_text("utf-8")


def _requirement(source: str | None) -> str:
    if source is not None:
        return f"inference-gateway @ {Path(source).resolve().as_uri()}"
    checkout = Path(gateway.__file__).parent.parent
    if (checkout / "setup.cfg").is_file():
        return f"inference-gateway @ {checkout.as_uri()}"
    return f"inference-gateway == {gateway.__version__}"
