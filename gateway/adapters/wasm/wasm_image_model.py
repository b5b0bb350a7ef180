"""A WASM function as a typed model of images: it gets each as PGM, and answers a mask on it."""

from collections.abc import Callable
from typing import Any

from gateway.adapters.wasm.graymaps import graymap, mask
from gateway.adapters.wasm.wasm_model import FunctionFile, call
from gateway.binding.typed_model import Options, TypedModel
from gateway.contract.execution import Execution
from gateway.contract.findings import Heatmap, Mask, ProbabilityMask
from gateway.contract.requests import Request
from gateway.dicom.volumes.study import Image
from gateway.errors import FunctionFailed, FunctionRefused, FunctionTimeout

FINDINGS = (Mask, ProbabilityMask, Heatmap)
"""What the output of a function may mean: inside or not, or 0 to 255 for 0 to 1."""


class WasmImageModel(TypedModel):
    """A function that is called for each image of a request, and finds one mask on each."""

    problems = FunctionRefused, FunctionFailed, FunctionTimeout

    def __init__(self, name: str, file: FunctionFile, finds: type, execution: Execution | None = None) -> None:
        """Raises TypeError for a finding that a function cannot return."""
        if finds not in FINDINGS:
            names = ", ".join(kind.__name__ for kind in FINDINGS)
            raise TypeError(f"finds should be one of {names}, and not {finds.__name__}.")
        self._file, self._finds = file, finds
        options = Options(deterministic=not any(file.grants), execution=execution or Execution())
        super().__init__(name, _target(file, finds), options)
        self.needs_loading = True

    def setup(self) -> None:
        """Compile the function. Raises InvalidFunction."""
        self._file.function()
        super().setup()

    def digest(self) -> str:
        """The digest of the model is that of its file."""
        return self._file.digest

    def fault(self) -> str:
        """See ``Model.fault``."""
        return self._file.fault()

    def fresh(self, name: str) -> "WasmImageModel":
        """See ``Model.fresh``."""
        return WasmImageModel(name, self._file, self._finds, self.execution)


def _target(file: FunctionFile, finds: Any) -> Callable[..., Any]:
    """Return the function as one in Python: its signature declares what the model takes and finds."""

    def predict(images: list[Image], request: Request) -> Any:
        return [_found(one, request) for one in images]

    def _found(image: Image, request: Request) -> Any:
        array = mask(call(file, memoryview(graymap(image)), request), image.shape)
        return finds(array > 0 if finds is Mask else array, file.path.stem, of=image)

    predict.__name__ = file.path.stem
    predict.__doc__ = "A WASM function of images."
    predict.__annotations__["return"] = list[finds]
    return predict
