"""The author's place in an error: the line of a model or a service, not of Python, of a library or of the gateway."""

import inspect
import os
import sysconfig
import traceback
from pathlib import Path
from typing import Any

LIBRARIES = tuple(
    {
        str(Path(__file__).parents[1]) + os.sep,
        *(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "purelib")),
    }
)
LONGEST = 400
"""Characters of a sentence about an error; some libraries print pages."""


def is_library(file: str) -> bool:
    """Return True for a file of Python, of an installed package or of the gateway."""
    return "site-packages" in file or file.startswith(("<", *LIBRARIES))


def in_one_line(error: BaseException, target: Any = None) -> str:
    """Return file and line, type and text of an error that no request has caused; ``target`` has the place if no frame.

    An error of the gateway about a declaration states what to do, and needs no type.
    """
    if isinstance(error, SyntaxError):
        return f"{_short(error.filename or '')}:{error.lineno}: {type(error).__name__}: {error.msg}"
    text = " ".join(str(error).split())[:LONGEST]
    return f"{_place(error, target)}{type(error).__name__}: {text}".removesuffix(": ")


def _place(error: BaseException, target: Any) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not is_library(frame.filename)]
    if frames:
        return f"{_short(frames[-1].filename)}:{frames[-1].lineno}: "
    try:
        return f"{_short(inspect.getsourcefile(target) or '')}:{inspect.getsourcelines(target)[1]}: "
    except (OSError, TypeError):
        return ""


def _short(file: str) -> str:
    """Return a path as a person in this folder would write it."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name
