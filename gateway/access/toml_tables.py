"""Files of an operator in TOML: each table read key by key, with a sentence for each fault."""

import difflib
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.access.callers_file import NAME
from gateway.access.reloading_file import MAX_BYTES
from gateway.spool.disk import read_regular

AE_TITLE = "an AE title, 1 to 16 characters of ASCII, no backslash, and no space at its ends"
MAX_TITLE = 16
"""Characters of an AE title (PS3.5 6.2)."""
NAMING = "1 to 64 letters, digits, dots, underscores and hyphens, and begins with no mark"
SECONDS = "seconds above 0"


class FileFaults(ValueError):
    """A file with ``faults``, a sentence for each; ``what`` it is stands before them."""

    def __init__(self, what: str, faults: Sequence[str]) -> None:
        super().__init__(f"{what}: {' '.join(faults)}")
        self.faults = tuple(faults)


def read_toml(path: Path, what: str, *, secret: bool = False) -> dict[str, Any]:
    """Read a file, which the sentence of a fault calls ``what``; see ``parse_toml``. Raises ValueError with it."""
    try:
        data = read_regular(path, MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path}, {what}, cannot be read: {error.strerror}.") from None
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path}, {what}, is larger than {MAX_BYTES} bytes.")
    return parse_toml(data, f"{path}, {what},", secret=secret)


def parse_toml(data: bytes, what: str, *, secret: bool = False) -> dict[str, Any]:
    """Return a document. Raises ValueError with a sentence on ``what`` it is; of a ``secret`` one it quotes nothing."""
    try:
        return tomllib.loads(data.decode())
    except tomllib.TOMLDecodeError as error:
        sentence, _, where = str(error).rpartition(" (")
        where = where.rstrip(")")
        raise ValueError(f"{what} is not TOML: {'see' if secret else f'{sentence},'} {where}.") from None
    except (UnicodeDecodeError, RecursionError):
        raise ValueError(f"{what} is not TOML: see encoding.") from None


class TomlTable:
    """A table while it is read: each key once, and what is wrong with it; ``place`` names it in ``faults``."""

    def __init__(self, place: str, values: Any, faults: list[str]) -> None:
        self.place, self.faults = place, faults
        self.values: Mapping[str, Any] = values if isinstance(values, dict) else {}
        self._known: list[str] = []
        if not isinstance(values, dict):
            self.fault("it should be a table.")

    def take(self, key: str, default: Any, be: str, fits: Callable[[Any], bool]) -> Any:
        """Return the value of a key, the default where it is missing or does not fit."""
        self._known.append(key)
        if key not in self.values:
            return default
        if fits(value := self.values[key]):
            return value
        self.fault(f"{key} should be {be}.")
        return default

    def fault(self, sentence: str) -> None:
        """Note a fault."""
        self.faults.append(f"{self.place}: {sentence}")

    def require(self, *keys: str) -> None:
        """Note those of ``keys`` that are missing."""
        if missing := [key for key in keys if key not in self.values]:
            self.fault(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing.")

    def end(self) -> None:
        """Note the keys that nobody took."""
        for key in sorted(self.values.keys() - set(self._known)):
            near = difflib.get_close_matches(key, self._known, n=1)
            self.fault(f"{key!r} is not a key{f'; {near[0]} is' if near else ''}.")


def is_table(value: Any) -> bool:
    """Return True for a table."""
    return isinstance(value, dict)


def is_flag(value: Any) -> bool:
    """Return True for true and false."""
    return isinstance(value, bool)


def is_text(value: Any) -> bool:
    """Return True for printable ASCII that is not blank."""
    return isinstance(value, str) and bool(value.strip()) and value.isascii() and value.isprintable()


def is_name(value: Any) -> bool:
    """Return True for a name of a caller, a peer or a rule."""
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def is_list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return a function that is True for a list of what ``fits``."""
    return lambda value: isinstance(value, list) and all(map(fits, value))


def is_ae_title(value: Any) -> bool:
    """Return True for an AE title (PS3.5 6.2)."""
    return is_text(value) and len(value) <= MAX_TITLE and "\\" not in value and value == value.strip()


def is_seconds(value: Any) -> bool:
    """Return True for a time above 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0 and math.isfinite(value)


def is_whole(value: Any, least: int, most: int) -> bool:
    """Return True for a whole number within bounds."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
