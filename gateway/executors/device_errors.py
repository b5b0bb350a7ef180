"""Errors of a device: out of its memory, after which a process lives on, and those after which it cannot.

They are told apart by the names of their classes, since no library of a model's is imported here.
"""

import contextlib
import gc
import re
import sys
from collections.abc import Iterator

OUT_OF_MEMORY = {
    "torch.OutOfMemoryError",
    "torch.cuda.OutOfMemoryError",
    "cupy.cuda.memory.OutOfMemoryError",
}
"""Classes of nothing else."""
NUMBERED = {
    "torch.AcceleratorError": "error_code",
    "cupy_backends.cuda.api.runtime.CUDARuntimeError": "status",
    "cupy_backends.cuda.api.driver.CUDADriverError": "status",
    "numba.cuda.cudadrv.driver.CudaAPIError": "code",
}
"""Classes of all errors of a driver, and the attribute that has its number, from which a text is made."""
OF_A_DEVICE = {
    *NUMBERED,
    "jax.errors.JaxRuntimeError",
    "jaxlib.xla_extension.XlaRuntimeError",
    "jaxlib._jax.XlaRuntimeError",
    "jaxlib._jax.JaxRuntimeError",
    "onnxruntime.capi.onnxruntime_pybind11_state.Fail",
    "onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException",
    "onnxruntime.capi.onnxruntime_pybind11_state.EPFail",
    "tensorflow.python.framework.errors_impl.ResourceExhaustedError",
    "tensorflow.python.framework.errors_impl.InternalError",
}
"""Classes of many errors, which a number or a text tells apart."""
PLAIN = re.compile(
    r"(CUDA|HIP) (driver )?error|(cuDNN|MIOpen) error|(CUDA|HIP) out of memory|Triton Error \[(CUDA|HIP)\]"
)
"""How a RuntimeError of PyTorch or Triton begins that has no class of its own; before PyTorch 2.8 none had."""
NO_MEMORY = 2
"""cudaErrorMemoryAllocation and hipErrorOutOfMemory."""
STICKY = {214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721}
"""Numbers of cudaError_t, and of HIP, after which a process "must be terminated and relaunched"."""
NO_MEMORY_TEXT = re.compile(
    r"[Oo]ut of memory|RESOURCE_EXHAUSTED|OUT_OF_MEMORY|ALLOC_FAILED|[Ff]ailed to allocate (memory|request)"
    r"|OOM when allocating|Dst tensor is not initialized"
)
STICKY_TEXT = re.compile(
    r"illegal memory access|ILLEGAL_ADDRESS|device-side assert|DEVICE_ASSERT|CUDA_ERROR_ASSERT|misaligned address"
    r"|MISALIGNED_ADDRESS|illegal instruction|ILLEGAL_INSTRUCTION|invalid program counter|hardware stack error"
    r"|unspecified launch failure|LAUNCH_FAILED|launch timed out|LAUNCH_TIMEOUT|uncorrectable (ECC|NVLink) error"
    r"|ECC_UNCORRECTABLE|NVLINK_UNCORRECTABLE|hardware exception|context is destroyed"
)
"""What drivers call those errors, in words and in names."""
DEPTH = 8
"""Causes of an error that are looked at."""


class DeviceMemoryShort(Exception):
    """The device had too little memory for a call. Without the error itself, whose frames hold what was allocated."""


class DeviceFailed(Exception):
    """The device answers no further call of this process, which has to end."""


def of_the_device(error: BaseException) -> DeviceMemoryShort | DeviceFailed | None:
    """Return what an error says of the device; None for any other error."""
    if is_out_of_device_memory(error):
        return DeviceMemoryShort()
    return DeviceFailed(f"its device failed ({type(error).__name__})") if is_sticky(error) else None


def is_out_of_device_memory(error: BaseException) -> bool:
    """Return True where the device had too little memory; its process may go on."""
    return any(_lacks_memory(each) for each in _causes(error))


def is_sticky(error: BaseException) -> bool:
    """Return True where the device will answer each later call of this process with an error."""
    return any(_is_sticky(each) for each in _causes(error))


def free_device_memory() -> None:
    """Give cached memory back to the device, for the next call or another process."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None:
        with contextlib.suppress(Exception):  # of a device that is at fault itself
            torch.cuda.empty_cache()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that it was raised from: a model may raise its own."""
    for _ in range(DEPTH):
        if error is None:
            return
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _lacks_memory(error: BaseException) -> bool:
    if _names(error) & OUT_OF_MEMORY:
        return True
    code = _code(error)
    return _is_of_a_device(error) and (code == NO_MEMORY or (not code and bool(NO_MEMORY_TEXT.search(str(error)))))


def _is_sticky(error: BaseException) -> bool:
    if not _is_of_a_device(error):
        return False
    code = _code(error)
    return code in STICKY if code else bool(STICKY_TEXT.search(str(error)))


def _is_of_a_device(error: BaseException) -> bool:
    return bool(_names(error) & OF_A_DEVICE) or (type(error) is RuntimeError and bool(PLAIN.match(str(error))))


def _names(error: BaseException) -> set[str]:
    """The full names of its class and of those that it is made from."""
    return {f"{each.__module__}.{each.__qualname__}" for each in type(error).__mro__}


def _code(error: BaseException) -> int:
    """The number of the driver that an error has; 0 without one. TensorFlow's are of another kind."""
    name = next((NUMBERED[each] for each in _names(error) if each in NUMBERED), "")
    value = getattr(error, name, None) if name else None
    return value if isinstance(value, int) else 0
