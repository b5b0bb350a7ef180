"""Checks of a module before it runs: what it imports is what the gateway has, and it exports one of two forms.

A command exports ``_start`` and ``memory``; it reads standard input and writes standard output (WASI preview 1).
An embedded function exports ``memory``, ``alloc(size: i32) -> i32`` and ``infer(pointer: i32, length: i32) -> i64``:
the gateway writes the input where ``alloc`` says, and ``infer`` returns ``pointer << 32 | length`` of its output.
"""

from collections.abc import Mapping
from typing import Any

import wasmtime

from gateway.adapters.wasm.wasi import ABSENT, HOST_FUNCTIONS, PREVIEW_1, Grants, HostFunction

EMBEDDED = {"alloc": ("i", "i"), "infer": ("ii", "I")}
"""The exports of an embedded function: arguments and results."""
COMMAND = {"_start": ("", "")}
TYPES = {"i32": "i", "i64": "I", "f32": "f", "f64": "F"}


class InvalidFunction(Exception):
    """A file that is no function which the gateway runs; the text says why, for the author."""


def host_imports(
    name: str, module: wasmtime.Module, grants: Grants
) -> dict[str, tuple[wasmtime.FuncType, HostFunction | None]]:
    """Return the host functions that a module imports, with the types that it declares. Raises InvalidFunction."""
    found = {}
    for one in module.imports:
        at, kind = f"{one.module}.{one.name}", one.type
        if (
            not isinstance(kind, wasmtime.FuncType)
            or one.module != PREVIEW_1
            or one.name not in (*HOST_FUNCTIONS, *ABSENT)
        ):
            raise InvalidFunction(f"{name} imports {at}; the gateway has the functions of {PREVIEW_1} alone.")
        function = HOST_FUNCTIONS.get(one.name)
        grant = function.grant if function is not None else ""
        if grant and not getattr(grants, grant):
            raise InvalidFunction(f"{name} imports {at}; register it with {grant}=True, or build it without.")
        arguments, returns = _signature(kind)
        if returns != (function.returns if function else "i") or (function and arguments != function.arguments):
            raise InvalidFunction(f"{name} imports {at} with other arguments than WASI has.")
        found[str(one.name)] = (kind, function)
    return found


def is_command(name: str, module: wasmtime.Module, memory_bytes: int) -> bool:
    """Return True for a command, False for an embedded function. Raises InvalidFunction for neither."""
    exports = {one.name: one.type for one in module.exports}
    memory = exports.get("memory")
    if not isinstance(memory, wasmtime.MemoryType):
        raise InvalidFunction(f"{name} exports no memory.")
    if memory.limits.min * memory.page_size > memory_bytes:
        raise InvalidFunction(f"{name} needs more memory than wasm_memory, which is {memory_bytes} bytes here.")
    if _has(exports, COMMAND):
        return True
    if _has(exports, EMBEDDED):
        return False
    raise InvalidFunction(f"{name} exports neither _start() nor alloc(i32) -> i32 and infer(i32, i32) -> i64.")


def _has(exports: Mapping[str, Any], wanted: Mapping[str, tuple[str, str]]) -> bool:
    found = {name: kind for name, kind in exports.items() if isinstance(kind, wasmtime.FuncType)}
    return all(name in found and _signature(found[name]) == types for name, types in wanted.items())


def _signature(kind: wasmtime.FuncType) -> tuple[str, str]:
    """Return the types of arguments and of results, as letters of ``TYPES``."""
    arguments, results = ("".join(TYPES.get(str(one), "?") for one in types) for types in (kind.params, kind.results))
    return arguments, results
