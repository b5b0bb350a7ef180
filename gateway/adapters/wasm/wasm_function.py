"""A WASM function: a module checked and compiled once, and a fresh instance of it for each call.

``module_checks`` says what a command and an embedded function are.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import wasmtime

from gateway.adapters.wasm.compiled_code import compiled
from gateway.adapters.wasm.engine import WasmEngine, wasm_engine
from gateway.adapters.wasm.module_checks import InvalidFunction, host_imports, is_command
from gateway.adapters.wasm.wasi import MASK, PREVIEW_1, Ended, Grants, ProgramMemory, Streams, host_call
from gateway.config import Settings
from gateway.errors import DeadlineExceeded, FunctionFailed, FunctionRefused, FunctionTimeout

MAGIC = b"\0asm\x01\0\0\0"
"""The head of a module, version 1; a component has another version (WebAssembly Core 5.5.16)."""
TABLE_ELEMENTS = 1 << 20
"""References in the tables of an instance, eight bytes each; a large program has some thousands."""
TABLES = 4
SHOWN = 500
"""Characters of standard error that a problem shows."""


@dataclass(frozen=True, kw_only=True)
class FunctionLimits:
    """The bounds of one call: bytes of memory and of output, seconds; and bytes of a module."""

    memory: int = Settings.wasm_memory
    output: int = Settings.wasm_output
    seconds: float = Settings.wasm_seconds
    module: int = Settings.wasm_module

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the bounds that an operator has set."""
        return cls(
            memory=settings.wasm_memory,
            output=settings.wasm_output,
            seconds=settings.wasm_seconds,
            module=settings.wasm_module,
        )


def read_module(path: Path, limits: FunctionLimits) -> bytes:
    """Read the file of a module. Raises InvalidFunction for another kind of file, or one too large; OSError."""
    with path.open("rb") as file:
        wasm = file.read(limits.module + 1)
    if len(wasm) > limits.module:
        raise InvalidFunction(f"{path.name} exceeds wasm_module, which is {limits.module} bytes here.")
    if not wasm.startswith(MAGIC):
        raise InvalidFunction(f"{path.name} is no WebAssembly module; build it with a target such as wasm32-wasi.")
    return wasm


class WasmFunction:
    """A function, ready to be called by many threads."""

    def __init__(self, name: str, wasm: bytes, limits: FunctionLimits, grants: Grants, cache: Path | None) -> None:
        """Compile and check a module. Raises InvalidFunction."""
        self._limits = limits
        self._engine: WasmEngine = wasm_engine()
        try:
            self._module = compiled(wasm, self._engine, cache)
        except wasmtime.WasmtimeError as error:
            raise InvalidFunction(f"{name} is no valid WebAssembly module: {_first_line(error)}") from None
        self._imports = host_imports(name, self._module, grants)
        self._is_command = is_command(name, self._module, limits.memory)

    def call(self, data: memoryview, seconds: float = math.inf) -> bytearray:
        """Return the output of a fresh instance for an input, within ``seconds`` and the limits.

        Raises FunctionRefused for an exit status other than 0, FunctionFailed for a trap and for too much output,
        FunctionTimeout, and DeadlineExceeded where ``seconds`` are fewer than the limit.
        """
        bounded = min(seconds, self._limits.seconds)
        if bounded <= 0:
            raise DeadlineExceeded("The function did not begin before the deadline of the request.")
        end, streams = time.monotonic() + bounded, Streams(data, self._limits.output)
        with wasmtime.Store(self._engine.engine) as store, self._linker(streams) as linker:
            store.set_limits(self._limits.memory, TABLE_ELEMENTS, instances=1, tables=TABLES, memories=1)
            try:
                with self._engine.bounded(store, bounded):
                    run = self._run_command if self._is_command else self._run_embedded
                    return run(linker.instantiate(store, self._module).exports(store), store, streams, data)
            except (Ended, wasmtime.WasmtimeError, wasmtime.Trap) as error:
                if time.monotonic() < end:
                    return self._ended(streams, error)
        if bounded < self._limits.seconds:
            raise DeadlineExceeded("The function did not end before the deadline of the request.")
        raise FunctionTimeout(f"The function did not end within wasm_seconds, which is {bounded:g} here.")

    def _linker(self, streams: Streams) -> wasmtime.Linker:
        linker, memory = wasmtime.Linker(self._engine.engine), ProgramMemory()
        for name, (kind, function) in self._imports.items():
            linker.define_func(PREVIEW_1, name, kind, host_call(function, streams, memory), access_caller=True)
        return linker

    def _run_command(self, exports: Any, store: wasmtime.Store, streams: Streams, _: memoryview) -> bytearray:
        exports["_start"](store)
        return streams.output

    def _run_embedded(self, exports: Any, store: wasmtime.Store, _: Streams, data: memoryview) -> bytearray:
        if "_initialize" in exports:  # a reactor of WASI
            exports["_initialize"](store)
        memory, pointer = exports["memory"], exports["alloc"](store, len(data)) & MASK
        if pointer + len(data) > memory.data_len(store):
            raise FunctionFailed("The function's alloc returned a place outside its memory.")
        memoryview(memory.get_buffer_ptr(store, len(data), pointer)).cast("B")[:] = data
        packed = exports["infer"](store, pointer, len(data))
        start, length = packed >> 32 & MASK, packed & MASK
        if start + length > memory.data_len(store):
            raise FunctionFailed("The function's infer returned a place outside its memory.")
        if length > self._limits.output:
            raise FunctionFailed(self._too_much)
        return bytearray(memory.get_buffer_ptr(store, length, start))

    @property
    def _too_much(self) -> str:
        return f"The function's output exceeds wasm_output, which is {self._limits.output} bytes here."

    def _ended(self, streams: Streams, error: Exception) -> bytearray:
        """Return the output of a program that ended itself with status 0; raise the problem of any other end.

        The streams know best: where two calls end in the same moment, wasmtime may raise the error of the other one.
        """
        if streams.broken is not None:
            raise streams.broken
        if streams.overflowed:
            raise FunctionFailed(self._too_much)
        if streams.exit_status == 0 and self._is_command:
            return streams.output
        if streams.exit_status is not None:
            status, said = streams.exit_status, printable(streams.errors)
            text = f"The function ended with status {status}. {said}".rstrip()
            raise FunctionRefused(text, exit_status=status)
        code = error.trap_code if isinstance(error, wasmtime.Trap) else None
        reason = f": {code.name.lower().replace('_', ' ')}" if code is not None else ""
        raise FunctionFailed(f"The function trapped{reason}.") from None


def printable(errors: bytes | bytearray) -> str:
    """Return the end of standard error as one line of text, without control characters."""
    text = "".join(character if character.isprintable() else " " for character in errors.decode("utf-8", "replace"))
    return " ".join(text.split())[-SHOWN:]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
