"""Calls of WASM functions at the executor, of a function itself, and by wasmtime alone. It needs wasmtime."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import wasmtime

from gateway import Settings
from gateway.adapters.wasm.wasi import Grants
from gateway.adapters.wasm.wasm_function import FunctionLimits, WasmFunction
from gateway.adapters.wasm.wasm_model import FunctionFile, WasmModel
from gateway.contract.requests import Request
from gateway.executors.inline import InlineExecutor
from gateway.executors.runner import AnswerChecks
from gateway.protocol.serializer import InferenceSerializer


def assembled(text: str) -> bytes:
    """Return the module of WebAssembly's text format."""
    return bytes(wasmtime.wat2wasm(text))


def at_executor(path: Path, data: bytes) -> Callable[[], bytes]:
    """Return a call of a file's function as a request makes it, without HTTP."""
    settings = Settings()
    model = WasmModel("/", FunctionFile(path, settings, Grants()))
    executor = InlineExecutor(settings)
    executor.add(model)
    executor.set_up(model, warm=False)
    checks = AnswerChecks(InferenceSerializer(), True, print)

    def call() -> bytes:
        request = Request({}, [io.BytesIO(data)], "0" * 64)
        return bytes(executor.run(model, request, checks, lambda: False).parts[0].data)

    return call


def of_function(wasm: bytes, data: bytes) -> Callable[[], bytearray]:
    """Return a call of a function by the gateway's sandbox."""
    function = WasmFunction("function.wasm", wasm, FunctionLimits(), Grants(), None)
    return lambda: function.call(memoryview(data))


def by_wasmtime(wasm: bytes, data: bytes) -> Callable[[], bytes]:
    """Return a call of a command as wasmtime's own WASI runs it: streams are files, here in memory."""
    engine = wasmtime.Engine()
    module, linker = wasmtime.Module(engine, wasm), wasmtime.Linker(engine)
    linker.define_wasi()

    def call() -> bytes:
        source, target = os.memfd_create("in"), os.memfd_create("out")
        try:
            os.write(source, data)
            with wasmtime.Store(engine) as store:
                streams = wasmtime.WasiConfig()
                streams.stdin_file, streams.stdout_file = f"/proc/self/fd/{source}", f"/proc/self/fd/{target}"
                store.set_wasi(streams)
                linker.instantiate(store, module).exports(store)["_start"](store)  # type: ignore[operator]
            return os.pread(target, os.fstat(target).st_size, 0)
        finally:
            os.close(source)
            os.close(target)

    return call
