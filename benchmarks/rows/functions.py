"""A WASM function at the executor, against the same module under wasmtime alone, its instance made included."""

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import wasmtime

from benchmarks.pairs import alternate
from benchmarks.results import Line, Plan, at_most, beside
from gateway import Settings
from gateway.adapters.wasm.wasi import Grants
from gateway.adapters.wasm.wasm_function import FunctionLimits, WasmFunction
from gateway.adapters.wasm.wasm_model import FunctionFile, WasmModel
from gateway.contract.requests import Request
from gateway.executors.inline import InlineExecutor
from gateway.executors.runner import AnswerChecks
from gateway.protocol.serializer import InferenceSerializer

GRAYSCALE = Path(__file__).parents[2] / "models/wasm/grayscale.wasm"
SIZE = 1000
LIMIT, START_MS = 1.2, 2.0
CALLS = 20
"""Calls of one sample of a start."""
EMPTY = '(module (memory (export "memory") 2) (func (export "_start")))'


def functions(plan: Plan) -> list[Line]:
    """Measure a grayscale of one megapixel, and a function that does nothing."""
    pixels = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    image = b"P6\n%d %d\n255\n" % (SIZE, SIZE) + pixels.tobytes()
    ours, alone = _executor(image), _wasmtime(GRAYSCALE.read_bytes(), image)
    if ours() != alone():
        raise ValueError("the two ways give different images")
    samples = alternate(plan.pairs * 4, {"ours": _timed(ours), "wasmtime": _timed(alone)})
    image_line = at_most(LIMIT, "WASM grayscale of 1 MP, at the executor", samples, "ours", "wasmtime")
    start = beside("an instance of a WASM function that does nothing", _starts(plan), "ours", "wasmtime")
    met = start.ours is not None and start.ours <= START_MS
    return [replace(image_line, unit="ms"), replace(start, unit="ms", must_reach=f"<= {START_MS:g} ms", met=met)]


def _starts(plan: Plan) -> dict[str, list[float]]:
    wasm = bytes(wasmtime.wat2wasm(EMPTY))
    function = WasmFunction("empty.wasm", wasm, FunctionLimits(), Grants(), None)
    alone = _wasmtime(wasm, b"")

    def started(call: Callable[[], object]) -> Callable[[], float]:
        timed = _timed(lambda: [call() for _ in range(CALLS)])
        return lambda: timed() / CALLS

    return alternate(plan.pairs, {"ours": started(lambda: function.call(memoryview(b""))), "wasmtime": started(alone)})


def _executor(image: bytes) -> Callable[[], bytes]:
    settings = Settings()
    model = WasmModel("/grayscale", FunctionFile(GRAYSCALE, settings, Grants()))
    executor = InlineExecutor(settings)
    executor.add(model)
    executor.set_up(model, warm=False)
    checks = AnswerChecks(InferenceSerializer(), True, print)

    def call() -> bytes:
        request = Request({}, [io.BytesIO(image)], "0" * 64)
        return bytes(executor.run(model, request, checks, lambda: False).parts[0].data)

    return call


def _wasmtime(wasm: bytes, data: bytes) -> Callable[[], bytes]:
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


def _timed(call: Callable[[], object]) -> Callable[[], float]:
    """Return a work that measures milliseconds."""

    def work() -> float:
        started = perf_counter()
        call()
        return (perf_counter() - started) * 1000

    return work
