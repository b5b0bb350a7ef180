"""The names of bundles and of the files in them, as hostile as any: no file system is asked what they mean.

A file is stored by its digest: a key never becomes a path here. It does where the bundle is pulled, on whichever
system: what is special on any of them is refused.
"""

import re
import unicodedata

from gateway.errors import KeyRefused

MAX_KEY_BYTES, MAX_NAME_BYTES = 512, 255
"""In UTF-8. Linux and macOS allow 255 bytes a name (NAME_MAX); Windows 260 characters a path."""

_BUNDLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)
"""Windows keeps these names in every folder, with any suffix ("Naming Files, Paths, and Namespaces")."""
_SPECIAL = frozenset('\\:<>"|?*')
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Control, formatting (it can show a name backwards), half surrogates, private, unassigned, separators of lines."""


def check_bundle(name: str) -> str:
    """The name of a bundle. Raises KeyRefused."""
    if not _BUNDLE.fullmatch(name) or name.endswith(".") or _RESERVED.fullmatch(name):
        raise KeyRefused("A bundle's name is 1 to 64 letters, digits, dots, underscores and hyphens.")
    return name


def check_key(key: str) -> str:
    """The key of a file in a bundle, a relative path with ``/``. Raises KeyRefused with the rule that it breaks."""
    if not key or any(unicodedata.category(character) in _INVISIBLE for character in key):
        raise KeyRefused("A key is not empty and holds no control or invisible characters.")
    if not _SPECIAL.isdisjoint(key):
        raise KeyRefused(
            "A key holds no backslash, colon, or other character that Windows reserves; part it by slashes."
        )
    if key != unicodedata.normalize("NFC", key):
        raise KeyRefused("A key is in Unicode's composed form (NFC): other forms are one file on some systems.")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise KeyRefused(f"A key takes {MAX_KEY_BYTES} bytes at most.")
    for name in key.split("/"):
        _check_name(name)
    return key


def _check_name(name: str) -> None:
    if not name or name in (".", ".."):
        raise KeyRefused("A key is a relative path, and none of its names is empty, . or .. .")
    if name[-1] in ". " or name[0] == " ":
        raise KeyRefused("No name in a key begins with a space or ends in a space or a dot.")
    if _RESERVED.fullmatch(name):
        raise KeyRefused("A name in a key is one that Windows reserves, such as CON or NUL.")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise KeyRefused(f"A name in a key takes {MAX_NAME_BYTES} bytes at most.")


def folded(key: str) -> str:
    """The key as file systems without case see it."""
    return unicodedata.normalize("NFC", key.casefold())
