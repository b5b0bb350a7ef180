"""Paths of files in a session: names in a table, and never on a disk of the gateway."""

import re
from urllib.parse import unquote

from gateway.errors import KeyRefused

PATH_CHARACTERS, NAME_BYTES = 512, 255
"""Of a path, and of each name in it: what a file system of the client takes."""
RESULTS = "results"
"""The folder of results, which no upload may write into."""
HOME = "/home/work/"
"""The working folder of a session in Backend.AI, which a path may begin with."""
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\\:*?\"<>|\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def uploaded_path(name: str) -> str:
    """Return the path of a file from the percent-encoded name of its part (RFC 7578 2). Raises KeyRefused."""
    path = checked_path(unquote(name, errors="strict") if _is_text(name) else "")
    if path.partition("/")[0] == RESULTS:
        raise KeyRefused("The folder results is for results; upload the file to another one.")
    return path


def checked_path(path: str) -> str:
    """Return a path that is safe to write below any folder. Raises KeyRefused for another."""
    names = path.split("/")
    fits = 0 < len(path) <= PATH_CHARACTERS and not _FORBIDDEN.search(path)
    if not fits or not all(_is_safe(name) for name in names):
        raise KeyRefused(
            "The name of a file should be a relative path of plain names, such as study/1.dcm: without .., "
            "backslashes, control characters, and names that begin or end with a space or end with a dot."
        )
    return path


def folder_path(path: str) -> str:
    """Return the path that a client lists or downloads, "" for the session's own folder. Raises KeyRefused."""
    bare = path.removeprefix(HOME.rstrip("/")) if f"{path}/".startswith(HOME) else path
    bare = bare.strip("/") if bare != path else bare.rstrip("/")
    bare = bare.removeprefix("./")
    return "" if bare in ("", ".") else checked_path(bare)


def _is_safe(name: str) -> bool:
    return 0 < len(name.encode()) <= NAME_BYTES and name.strip(" ") == name and not name.endswith(".")


def _is_text(name: str) -> bool:
    try:
        unquote(name, errors="strict")
    except UnicodeDecodeError:
        return False
    return True
