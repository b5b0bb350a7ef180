"""A WASM function at the executor, against the same module under wasmtime alone, its instance made included."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.pairs import Work, alternate, timed
from benchmarks.results import Line, Plan, at_most, beside, skipped

GRAYSCALE = Path(__file__).parents[2] / "models/wasm/grayscale.wasm"
SIZE = 1000
LIMIT, START_MS = 1.2, 2.0
CALLS = 20
"""Calls of one sample of a start."""
EMPTY = '(module (memory (export "memory") 2) (func (export "_start")))'


def functions(plan: Plan) -> list[Line]:
    """Measure a grayscale of one megapixel, and a function that does nothing."""
    work, start_work = "WASM grayscale of 1 MP, at the executor", "an instance of a WASM function that does nothing"
    if find_spec("wasmtime") is None:
        return [skipped(each, "the package wasmtime is not installed") for each in (work, start_work)]
    from benchmarks import wasm_calls

    pixels = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    image = b"P6\n%d %d\n255\n" % (SIZE, SIZE) + pixels.tobytes()
    ours, alone = wasm_calls.at_executor(GRAYSCALE, image), wasm_calls.by_wasmtime(GRAYSCALE.read_bytes(), image)
    if ours() != alone():
        raise ValueError("the two ways give different images")
    samples = alternate(plan.pairs * 4, {"ours": _milliseconds(ours), "wasmtime": _milliseconds(alone)})
    image_line = at_most(LIMIT, work, samples, "ours", "wasmtime")
    empty = wasm_calls.assembled(EMPTY)
    starts = {"ours": wasm_calls.of_function(empty, b""), "wasmtime": wasm_calls.by_wasmtime(empty, b"")}
    samples = alternate(plan.pairs, {name: _milliseconds(call, CALLS) for name, call in starts.items()})
    start = beside(start_work, samples, "ours", "wasmtime")
    met = start.ours is not None and start.ours <= START_MS
    return [replace(image_line, unit="ms"), replace(start, unit="ms", must_reach=f"<= {START_MS:g} ms", met=met)]


def _milliseconds(call: Callable[[], object], calls: int = 1) -> Work:
    """Return a work that measures one of ``calls`` calls."""
    work = timed(lambda: [call() for _ in range(calls)])
    return lambda: work() * 1000 / calls
