"""Canonical JSON, so that equal values have equal digests; and the key that signs it."""

import hashlib
import hmac
import json
import logging
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.config import KiB
from gateway.spool.disk import read_regular

logger = logging.getLogger("gateway")

KEY_BYTES = 32
"""As many as sha256 has; RFC 2104 3 advises against fewer."""
LONGEST_KEY_FILE = 64 * KiB
"""Bytes of the file of a key; longer keys than sha256's blocks of 64 bytes are hashed first (RFC 2104 2)."""


def canonical(value: Mapping[str, Any]) -> bytes:
    """Return JSON with sorted names and no spaces, in UTF-8. Numbers must be integers, which have one form.

    Half of a surrogate pair, which UTF-8 cannot carry, stays the escape that JSON has for it.
    """
    return _encode(value).encode("utf-8", "backslashreplace")


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def sha256(data: bytes) -> str:
    """64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sign(data: bytes, key: bytes) -> str:
    """HMAC-SHA256 (RFC 2104) in 64 lower-case hexadecimal digits."""
    return hmac.digest(key, data, "sha256").hex()


def signed(data: bytes, key: bytes, signature: str) -> bool:
    """Return True if ``signature`` signs ``data``. Takes the same time wherever they differ."""
    return hmac.compare_digest(sign(data, key).encode(), signature.encode("utf-8", "replace"))


def read_key(path: Path) -> bytes:
    """The key in ``path``, written there in hexadecimal digits. Raises ValueError for anything else, and OSError."""
    try:
        key = bytes.fromhex(read_regular(path, LONGEST_KEY_FILE).decode("ascii"))
    except ValueError:
        key = b""
    if len(key) < KEY_BYTES:
        raise ValueError(f"{path} should hold a key of {2 * KEY_BYTES} hexadecimal digits or more.")
    return key


def read_or_make_key(path: Path) -> bytes:
    """The key in ``path``; where there is none, a new one that only this user may read. Raises as ``read_key``."""
    if not path.parent.is_dir():
        raise ValueError(f"The key of the audit should lie in {path.parent}, which is no folder.")
    if not path.exists():
        _make_key(path)
    if path.stat().st_mode & 0o077:
        logger.warning("the audit key may be read by others than its owner: chmod 600")
    return read_key(path)


def _make_key(path: Path) -> None:
    """Put a whole key there, or none: other workers look for it at the same time."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return  # another worker was first: its key is the key
    finally:
        draft.unlink()
