"""Compiled WASM functions in a folder: code of the machine, which is loaded only where no other user can have made it.

A file is named by the digests of the function, of wasmtime's version and of the engine's configuration. It begins with
the sha256 of the code, so that a spoilt file is compiled again.
"""

import contextlib
import hashlib
import logging
import os
import platform
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import wasmtime

from gateway.adapters.wasm.engine import CONFIGURATION, WasmEngine

logger = logging.getLogger("gateway")

SHA256_BYTES = 32
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class CacheRefused(Exception):
    """A folder or a file that another user may have written, or that cannot be used."""


def compiled(wasm: bytes, engine: WasmEngine, folder: Path | None) -> wasmtime.Module:
    """Compile a module, or load it where ``folder`` has it; None uses no folder. Raises wasmtime.WasmtimeError."""
    if folder is None:
        return wasmtime.Module(engine.engine, wasm)
    name = _name(wasm)
    with contextlib.suppress(FileNotFoundError):
        try:
            return wasmtime.Module.deserialize(engine.engine, load(folder, name))
        except (CacheRefused, OSError, wasmtime.WasmtimeError) as error:
            logger.warning("compiled code not used: %s", _reason(error))
    module = wasmtime.Module(engine.engine, wasm)
    try:
        store(folder, name, bytes(module.serialize()))
    except (CacheRefused, OSError) as error:
        logger.warning("compiled code not stored: %s", _reason(error))
    return module


def load(folder: Path, name: str) -> bytes:
    """Return the code in a file. Raises CacheRefused, and OSError, such as FileNotFoundError."""
    with _opened(folder) as parent:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        with os.fdopen(descriptor, "rb") as file:
            _refuse_foreign(descriptor, "file")
            digest, code = file.read(SHA256_BYTES), file.read()
    if hashlib.sha256(code).digest() != digest:
        raise CacheRefused("the file is damaged")
    return code


def store(folder: Path, name: str, code: bytes) -> None:
    """Write a file, whole or not at all, for this user alone. Raises CacheRefused, OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _opened(folder) as parent:
        path = Path(f"/proc/self/fd/{parent}")
        with tempfile.NamedTemporaryFile(dir=path, prefix=".", delete=False) as file:  # its mode is 0600
            written = Path(file.name).name
            try:
                file.write(hashlib.sha256(code).digest() + code)
                file.flush()
                os.replace(written, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                os.unlink(written, dir_fd=parent)
                raise


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _refuse_foreign(descriptor, "folder")
        yield descriptor
    finally:
        os.close(descriptor)


def _refuse_foreign(descriptor: int, kind: str) -> None:
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid():
        raise CacheRefused(f"the {kind} belongs to another user")
    if found.st_mode & OTHERS_MAY_WRITE:
        raise CacheRefused(f"other users may write to the {kind}")


def _name(wasm: bytes) -> str:
    digest = hashlib.sha256(wasm).hexdigest()
    made_by = f"{metadata.version('wasmtime')} {CONFIGURATION} {platform.machine()}"
    return hashlib.sha256(f"{digest} {made_by}".encode()).hexdigest() + ".code"


def _reason(error: Exception) -> str:
    """A reason without a path."""
    if isinstance(error, OSError):
        return os.strerror(error.errno or 0)
    return str(error).partition("\n")[0]
