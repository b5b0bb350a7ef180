"""Errors of devices are told apart by the names of their classes, their numbers and their texts, from any library."""

import subprocess
import sys
from typing import Any

import pytest

from gateway.executors.device_errors import is_out_of_device_memory, is_sticky

ONNX = "onnxruntime.capi.onnxruntime_pybind11_state"
TF = "tensorflow.python.framework.errors_impl"


def error(module: str, name: str, text: str = "", **members: Any) -> BaseException:
    """An error of a class with this name, made from RuntimeError as those of the libraries are."""
    kind = type(name, (RuntimeError,), {"__module__": module, "__qualname__": name})
    raised: BaseException = kind(text)
    vars(raised).update(members)
    return raised


SHORT = [
    error("torch", "OutOfMemoryError", "CUDA out of memory. Tried to allocate 20.00 MiB."),
    error("torch.cuda", "OutOfMemoryError"),
    error("torch", "AcceleratorError", "CUDA error: out of memory", error_code=2),
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    error("cupy.cuda.memory", "OutOfMemoryError", "Out of memory allocating 1,024 bytes"),
    error("cupy_backends.cuda.api.runtime", "CUDARuntimeError", "cudaErrorMemoryAllocation: out of memory", status=2),
    error(
        "jaxlib.xla_extension", "XlaRuntimeError", "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes"
    ),
    error("jax.errors", "JaxRuntimeError", "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes"),
    error("numba.cuda.cudadrv.driver", "CudaAPIError", "[2] Call to cuMemAlloc results in OUT_OF_MEMORY", code=2),
    error(TF, "ResourceExhaustedError", "OOM when allocating tensor with shape[4096]", error_code=8),
    error(TF, "ResourceExhaustedError", "failed to allocate memory [Op:Mul]", error_code=8),
    error(TF, "InternalError", "Failed copying input tensor: Dst tensor is not initialized.", error_code=13),
    RuntimeError("CUDA driver error: out of memory"),
    RuntimeError("Triton Error [CUDA]: out of memory"),
    error(ONNX, "EPFail", "CUDA failure 2: out of memory ; GPU=0"),
    error(ONNX, "RuntimeException", "Failed to allocate memory for requested buffer of size 512"),
]
STICKY = [
    error("torch", "AcceleratorError", "CUDA error: an illegal memory access was encountered", error_code=700),
    error("torch", "AcceleratorError", "CUDA error: device-side assert triggered"),
    error("torch", "AcceleratorError", "CUDA error: uncorrectable ECC error encountered", error_code=214),
    RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be reported"),
    RuntimeError("HIP error: unspecified launch failure"),
    error("cupy_backends.cuda.api.driver", "CUDADriverError", "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal", status=700),
    error("jaxlib._jax", "JaxRuntimeError", "INTERNAL: CUDA error: Failed: CUDA_ERROR_ILLEGAL_ADDRESS"),
    RuntimeError("CUDA driver error: an illegal memory access was encountered"),
    RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"),
    error(TF, "InternalError", "failed to query event: CUDA_ERROR_LAUNCH_FAILED: unspecified", error_code=13),
    error(ONNX, "Fail", "CUDA failure 700: an illegal memory access was encountered ; GPU=0"),
]
OTHERS = [
    error("torch", "AcceleratorError", "CUDA error: invalid argument", error_code=1),
    error("torch", "AcceleratorError", "CUDA error: CUDA-capable device(s) is/are busy or unavailable", error_code=46),
    error(TF, "ResourceExhaustedError", "weights.tmp; No space left on device", error_code=8),
    error(TF, "UnknownError", "out of memory", error_code=2),
    RuntimeError("the patient ran out of memory"),
    RuntimeError("an illegal memory access"),
    MemoryError("out of memory"),
    ValueError("CUDA error: device-side assert triggered"),
    error("author", "OutOfMemoryError", "out of memory"),
    error(ONNX, "Fail", "Load model failed"),
]


@pytest.mark.parametrize("raised", SHORT, ids=repr)
def test_a_lack_of_device_memory_is_no_end_of_a_process(raised: BaseException) -> None:
    assert is_out_of_device_memory(raised)
    assert not is_sticky(raised)


@pytest.mark.parametrize("raised", STICKY, ids=repr)
def test_a_device_that_answers_no_more_is_the_end_of_a_process(raised: BaseException) -> None:
    assert is_sticky(raised)
    assert not is_out_of_device_memory(raised)


@pytest.mark.parametrize("raised", OTHERS, ids=repr)
def test_any_other_error_is_the_models_own(raised: BaseException) -> None:
    assert not is_sticky(raised)
    assert not is_out_of_device_memory(raised)


def test_an_error_that_a_model_made_of_another_is_told_by_its_cause() -> None:
    with pytest.raises(ValueError) as caught:
        try:
            raise SHORT[0]
        except RuntimeError as cause:
            raise ValueError("no prediction") from cause
    assert is_out_of_device_memory(caught.value)


def test_no_library_is_imported_to_tell() -> None:
    code = (
        "import sys; from gateway.executors.runner import answer; from gateway.executors.device_errors import *;"
        " is_sticky(RuntimeError()); free_device_memory(); assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
