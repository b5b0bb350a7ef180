"""A decoding process as its owner sees it: started anew, never forked, and ended when it failed.

A codec is C or C++ that reads what strangers send. One that crashes, does not end or asks for all memory takes its
process along, so it has a process of its own, with nothing in it but one codestream.
"""

import contextlib
import fcntl
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gateway.config import Settings
from gateway.dicom.decoding.codecs import Words

MODULE = "gateway.dicom.decoding.decoder_process"
MAX_MESSAGE = 4096
"""Bytes of a message: names and numbers alone."""
START_SECONDS = 60.0
"""How long a process may take to start on a busy machine."""
PATIENCE = 10.0
"""How much more wall time than CPU time a frame may take on a busy machine, beside START_SECONDS."""
END_SECONDS = 5.0
"""How long a process may take to end when its channel has."""
KEPT_BYTES = 32 << 20
"""Shared memory that an idle process keeps for the next frame, since new pages cost more than the copy into them; a
mammogram takes 30 MiB."""
MIN_BYTES = 1 << 20
"""The least of it: a CT slice and its codestream."""
ALIGNMENT = 64
"""Where the samples begin is a multiple of this, as numpy's own allocator has it."""
PASSED = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "TMPDIR")
"""Variables that a process inherits; keys and passwords are not among them."""

OPENJPEG_THREADS = "OPJ_NUM_THREADS"
"""Lets OpenJPEG decode the code blocks of one image with so many threads."""
FAULTS = {
    "memory": "needed more memory than decode_memory allows",
    "size": "gave another number of samples",
    "ImportError": "could not be imported",
    "ModuleNotFoundError": "could not be imported",
}
"""What is said of a process by the fault that it answers; any other is an exception of its codec."""
SEALS = ("F_SEAL_GROW", "F_SEAL_SHRINK", "F_SEAL_SEAL")
"""What the other side may not do to the shared memory (fcntl(2)): make it larger, or smaller than what we map."""


class DecoderFailed(Exception):
    """A codestream was not decoded; the text says what its decoder did."""


@dataclass(frozen=True)
class DecoderLimits:
    """Limits of decoding: the settings ``decode_processes``, ``decode_memory`` and so on."""

    processes: int
    memory: int
    seconds: float
    rate: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        processes = min(settings.decode_processes, cores()) if hasattr(os, "memfd_create") else 0
        return cls(processes, settings.decode_memory, settings.decode_seconds, settings.decode_rate)

    def allowed(self, size: int) -> float:
        """Seconds of CPU for a frame of ``size`` bytes."""
        return self.seconds + size / max(1, self.rate)


@dataclass(frozen=True)
class FrameJob:
    """The decoding of one frame: the codec, the size of the output, and the members of the header."""

    codec: str
    size: int
    stated: Words = field(default_factory=dict)


Decoded = tuple[bytearray | bytes | NDArray[np.uint8], Words]
"""Samples, and what the codec says of them."""


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class DecodingProcess:
    """A decoding process, its channel, and the memory shared with it: the codestream, then the samples."""

    def __init__(self, limits: DecoderLimits) -> None:
        """Start it. Raises OSError, or DecoderFailed where it does not get as far as to wait for work."""
        self._limits = limits
        self._memory: mmap.mmap | None = None
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as undoing:
            undoing.callback(self.leave)
            with theirs:
                self._process = _start(theirs.fileno(), limits.memory)
            undoing.callback(self.end)
            self._hear(START_SECONDS)
            undoing.pop_all()

    def reusable(self) -> bool:
        """Return True if it lives, and shares no more memory than it may retain."""
        return self._process.poll() is None and (self._memory is None or len(self._memory) <= KEPT_BYTES)

    def decode(self, job: FrameJob, codestream: bytes) -> Decoded:
        """The samples of one frame. Raises DecoderFailed or OSError, after which the process is of no use."""
        start = -(-len(codestream) // ALIGNMENT) * ALIGNMENT
        seconds = self._limits.allowed(job.size)
        words = {"codec": job.codec, "length": len(codestream), "start": start, "size": job.size, "seconds": seconds}
        memory, files = self._room(start + job.size)
        memory[: len(codestream)] = codestream
        self._tell({**job.stated, **words}, files)
        said = self._hear(START_SECONDS + PATIENCE * seconds)
        if "fault" in said:
            raise DecoderFailed(fault(said["fault"]))
        samples = np.empty(job.size, np.uint8)
        np.copyto(samples, np.frombuffer(memory, np.uint8, job.size, start))  # a copy that lets other threads run
        return samples, said

    def end(self) -> None:
        """End it now, if it has not ended."""
        self.leave()
        self._process.kill()
        self._process.wait()

    def retire(self) -> None:
        """Wait until it ends, as it does when its channel has."""
        self.leave()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        self.end()

    def leave(self) -> None:
        """Close our end of its channel."""
        self._channel.close()

    def _room(self, size: int) -> tuple[mmap.mmap, list[int]]:
        """Shared memory of at least this size, and its file where the process does not have it yet."""
        if self._memory is not None and size <= len(self._memory):
            return self._memory, []
        if self._memory is not None:
            self._memory.close()
        file = os.memfd_create("gateway-decoding", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(file, size if size > KEPT_BYTES else max(MIN_BYTES, 1 << (size - 1).bit_length()))
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, sum(getattr(fcntl, name) for name in SEALS))
            self._memory = mmap.mmap(file, 0)
        except BaseException:
            os.close(file)
            raise
        return self._memory, [file]

    def _tell(self, words: Words, files: list[int]) -> None:
        try:
            socket.send_fds(self._channel, [json.dumps(words).encode()], files)
        finally:
            for file in files:
                os.close(file)

    def _hear(self, seconds: float) -> Words:
        self._channel.settimeout(seconds)
        try:
            message = self._channel.recv(MAX_MESSAGE)
        except TimeoutError:
            raise DecoderFailed("did not answer in time") from None
        except ConnectionError:
            message = b""
        if not message:
            raise DecoderFailed(self._why())
        words: Words = json.loads(message)
        return words

    def _why(self) -> str:
        """A description of how it ended."""
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its channel"
        if code >= 0:
            return f"exited with status {code}"
        if -code == signal.SIGPROF:
            return "took more CPU time than decode_seconds and decode_rate allow"
        return f"was ended by {_signal_name(-code)}"


def _start(descriptor: int, memory: int) -> subprocess.Popen[bytes]:
    """Start it in a session of its own, since a server's signals reach whole groups.

    It ends when its channel does. PR_SET_PDEATHSIG would end it with the thread that started it, one of a request.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", MODULE, str(descriptor), str(memory)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # codecs quote what they read
        pass_fds=[descriptor],
        start_new_session=True,
        env=_environment(),
    )


def _signal_name(number: int) -> str:
    return next((one.name for one in signal.Signals if one == number), f"signal {number}")


def _environment() -> dict[str, str]:
    found = {name: os.environ[name] for name in PASSED if name in os.environ}
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path if entry)
    return found | {
        "PYTHONPATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        OPENJPEG_THREADS: str(cores()),
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",  # each arena of glibc reserves 64 MiB of the address space
    }


def fault(name: str) -> str:
    """Return the error of a decoder that answered with this fault."""
    return FAULTS.get(name, "found it broken")
