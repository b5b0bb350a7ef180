"""A WASM function as a model: one file in, one file out."""

import hashlib
import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from gateway.adapters.wasm.media_types import media_type_of
from gateway.adapters.wasm.module_checks import InvalidFunction
from gateway.adapters.wasm.wasi import Grants
from gateway.adapters.wasm.wasm_function import FunctionLimits, WasmFunction, read_module
from gateway.config import Settings
from gateway.contract.execution import Card, Execution
from gateway.contract.model import Model, ModelDescription
from gateway.contract.requests import BinaryPart, EncodedAnswer, ModelAnswer, Request
from gateway.errors import FunctionFailed, FunctionRefused, FunctionTimeout, ModelFailed, StudyRefused


class FunctionFile:
    """The file of a function, read when its route is added and compiled once, by the process that runs it."""

    def __init__(self, path: Path, settings: Settings, grants: Grants) -> None:
        """Raises InvalidFunction for a file that is no module or is too large, OSError."""
        self.path, self.grants = path.absolute(), grants
        self._limits, self._cache = FunctionLimits.of(settings), settings.wasm_cache
        self._wasm = read_module(self.path, self._limits)
        self.digest = hashlib.sha256(self._wasm).hexdigest()
        self._lock = threading.Lock()
        self._function: WasmFunction | None = None

    def function(self) -> WasmFunction:
        """Return the function, compiled at the first call. Raises InvalidFunction."""
        with self._lock:
            if self._function is None:
                self._function = WasmFunction(self.path.name, self._wasm, self._limits, self.grants, self._cache)
            return self._function

    def fault(self) -> str:
        """Return why it is no function, "" for one that is."""
        try:
            self.function()
        except InvalidFunction as error:
            return str(error)
        return ""


class WasmModel(Model):
    """A function that takes the one file of a request, whatever it is, and answers one file."""

    needs_loading = takes_any_file = True
    problems = FunctionRefused, FunctionFailed, FunctionTimeout

    def __init__(self, name: str, file: FunctionFile, media_type: str = "", execution: Execution | None = None) -> None:
        """``media_type`` is that of the output; "" takes it from the bytes."""
        self.name, self.execution = name, execution or Execution()
        self._file, self._media_type = file, media_type

    def setup(self) -> None:
        """Compile the function. Raises InvalidFunction."""
        self._file.function()

    def predict(self, request: Request) -> ModelAnswer:
        """Answer with the function's output as one part, which its JSON describes. Raises as ``WasmFunction.call``."""
        output = call(self._file, file_of(request), request)
        media_type = self._media_type or media_type_of(output)
        part = {"label": self._file.path.stem, "binary_type": "file", "media_type": media_type, "length": len(output)}
        answer = {"parts": [part]}
        encoded = EncodedAnswer(json.dumps(answer).encode("ascii"), [BinaryPart(media_type, memoryview(output))])
        return ModelAnswer(answer, [output], faults=(), encoded=encoded)

    def identify(self, request: Request) -> tuple[str, str]:
        """See ``Model.identify``: a function has no parameters."""
        return "file", ""

    @property
    def card(self) -> Card:
        """See ``Model.card``. An answer repeats where neither the time nor random numbers are granted."""
        return Card(name=self._file.path.stem, model_digest=self._file.digest, deterministic=not any(self._file.grants))

    def describe(self) -> ModelDescription:
        """See ``Model.describe``."""
        sentences = ["Takes one file, as the body or as a part.", "Answers one file."]
        return ModelDescription(name=self._file.path.stem, text="A WASM function.", sentences=sentences)

    def weights_files(self) -> Mapping[Path, str]:
        """See ``Model.weights_files``."""
        return {self._file.path: self._file.digest}

    def fault(self) -> str:
        """See ``Model.fault``."""
        return self._file.fault()

    def fresh(self, name: str) -> "WasmModel":
        """See ``Model.fresh``."""
        return WasmModel(name, self._file, self._media_type, self.execution)


def call(file: FunctionFile, data: memoryview, request: Request) -> bytearray:
    """Call a function for a request, within its deadline. Raises as ``WasmFunction.call``, and ModelFailed."""
    try:
        function = file.function()
    except InvalidFunction as error:
        raise ModelFailed("The function cannot be run; the gateway's log says why.") from error
    return function.call(data, request.context.deadline - time.monotonic())


def file_of(request: Request) -> memoryview:
    """Return the bytes of the one file of a request. Raises StudyRefused for none, and for several."""
    if len(request.instances) != 1:
        raise StudyRefused(f"This model takes one file; the request has {len(request.instances) or 'none'}.")
    return content(request.instances[0])


def content(file: BinaryIO) -> memoryview:
    """Return the bytes of a file, without a copy where they lie in memory."""
    if hasattr(file, "getbuffer"):
        return memoryview(file.getbuffer()).toreadonly()
    file.seek(0)
    return memoryview(file.read())
