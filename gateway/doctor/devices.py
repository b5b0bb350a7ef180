"""Checks of GPU and driver, by the kernel, NVIDIA's tool and PyTorch. No GPU is fine: models may run on the CPU."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gateway.doctor.diagnoses import Diagnosis, Level

DRIVER = Path("/proc/driver/nvidia/version")
AMD = Path("/dev/kfd")
QUERY = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
PATIENCE = 30.0
"""Seconds for nvidia-smi or for the import of PyTorch: both wait for a driver that hangs."""
TORCH = (
    "import torch\n"
    "print(torch.__version__, torch.version.cuda or torch.version.hip or 'cpu', torch.cuda.device_count())"
)
"""Run in another process: a broken driver may crash it."""


@dataclass(frozen=True)
class ProgramOutput:
    """The output of a program, or the reason of its failure; both empty where there is no such program."""

    text: str = ""
    fault: str = ""


def gpu(driver: str, amd: bool, smi: ProgramOutput, torch: ProgramOutput) -> Diagnosis:
    """Check that kernel, tool and PyTorch agree; ``driver`` is its version, "" without one."""
    mend = "Reinstall the driver, or start the container with the NVIDIA runtime (--gpus all)."
    if smi.fault:
        return Diagnosis("gpu", Level.WARN, f"nvidia-smi does not work: {smi.fault}.", mend)
    if driver and not smi.text:
        return Diagnosis("gpu", Level.WARN, f"Driver {driver} is loaded, but nvidia-smi was not found.", mend)
    if torch.fault:
        remedy = "Install PyTorch again, for this machine's driver."
        return Diagnosis("gpu", Level.WARN, f"PyTorch is installed but does not import: {torch.fault}.", remedy)
    devices = "; ".join(smi.text.splitlines()) or ("AMD" if amd else "")
    version, build, count = torch.text.split() if torch.text else ("", "", "0")
    if devices and torch.text and count == "0":
        remedy = "Install the PyTorch that is built for this driver, and see CUDA_VISIBLE_DEVICES."
        return Diagnosis("gpu", Level.WARN, f"{devices}, but PyTorch {version} ({build}) sees no device.", remedy)
    visible = f"PyTorch {version} ({build}) sees {count}" if torch.text else "no PyTorch"
    return Diagnosis("gpu", Level.OK, f"{devices or 'None, which is fine: models run on the CPU'}; {visible}.")


def driver_version(file: Path = DRIVER) -> str:
    """Return the version of NVIDIA's kernel module; "" where it is not loaded."""
    try:
        match = re.search(r"\d+\.\d[\d.]*", file.read_text())
    except OSError:
        return ""
    return match[0] if match else "unknown"


def ask_smi() -> ProgramOutput:
    """Return name, memory and driver of each GPU, a line each."""
    program = shutil.which("nvidia-smi")
    return ask([program, *QUERY]) if program else ProgramOutput()


def ask_torch() -> ProgramOutput:
    """Return PyTorch's version, its build, and the number of GPUs that it sees."""
    from importlib.util import find_spec

    return ask([sys.executable, "-c", TORCH]) if find_spec("torch") else ProgramOutput()


def ask(command: list[str]) -> ProgramOutput:
    """Run a program and return its output; the last line of stderr is the reason of a failure."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return ProgramOutput(fault=f"no answer in {PATIENCE:.0f} s")
    except OSError as error:
        return ProgramOutput(fault=error.strerror or type(error).__name__)
    if ran.returncode == 0:
        return ProgramOutput(ran.stdout.strip())
    lines = (ran.stderr or ran.stdout).strip().splitlines()
    return ProgramOutput(fault=lines[-1] if lines else f"exit status {ran.returncode}")
