"""The one engine of this process that runs WASM functions: what they may use of WebAssembly, and how time ends them."""

import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from gateway.extras import hint

try:
    import wasmtime
except ImportError as error:
    raise ImportError(f"A WASM function needs wasmtime; {hint('wasm')}") from error

TICK = 0.01
"""Seconds between two looks of running code at whether its time is over (an epoch of wasmtime)."""
STACK_BYTES = 512 << 10
"""The stack of compiled code: a sixteenth of that of a thread on Linux."""
CONFIGURATION = 1
"""The number of the configuration below: code that was compiled under another is compiled again."""


class WasmEngine:
    """wasmtime's engine, and the thread that advances its epoch with the time while functions run."""

    def __init__(self) -> None:
        self.engine = wasmtime.Engine(_configuration())
        self._epoch = 0
        """Of the engine."""
        self._began = 0.0
        """When the epoch would have been 0, by the calls that run now (``time.monotonic``)."""
        self._running = 0
        self._ticking = False
        self._changed = threading.Condition()
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        """Forget the thread and the calls of the parent process, which this one has not."""
        self._running, self._ticking, self._changed = 0, False, threading.Condition()

    @contextmanager
    def bounded(self, store: wasmtime.Store, seconds: float) -> Iterator[None]:
        """Run the code of ``store`` within the block; it traps once ``seconds`` are over, a tick later at most.

        A call never ends too early, and a busy machine, on which ticks are late, makes it no longer.
        """
        with self._changed:
            now = time.monotonic()
            if not self._running:  # the epoch has stood still
                self._began = now - self._epoch * TICK
            self._running += 1
            store.set_epoch_deadline(math.ceil((now + seconds - self._began) / TICK) - self._epoch)
            if not self._ticking:
                self._ticking = True
                threading.Thread(target=self._tick, name="gateway-wasm-clock", daemon=True).start()
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1

    def _tick(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._running)
                while self._began + (self._epoch + 1) * TICK <= time.monotonic():
                    self._epoch += 1
                    self.engine.increment_epoch()
            time.sleep(TICK)


@cache
def wasm_engine() -> WasmEngine:
    """Return the engine, made at the first use in a process."""
    return WasmEngine()


def _configuration() -> wasmtime.Config:
    """Answers that repeat on every machine, and no more of WebAssembly than functions of bytes need."""
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.cranelift_nan_canonicalization = True
    config.wasm_relaxed_simd_deterministic = True
    config.wasm_threads = False
    config.wasm_memory64 = False
    config.wasm_multi_memory = False
    config.wasm_component_model = False
    config.gc_support = False
    config.max_wasm_stack = STACK_BYTES
    return config
