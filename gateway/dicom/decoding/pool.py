"""Decoding processes: started when the first compressed frame is met, kept warm, and replaced when one is lost.

A codec is C or C++ that reads what strangers send. One that crashes, does not end or asks for all memory takes its
process along, so it has a process of its own, with nothing in it but one codestream. A process whose codestream was
broken is not used again, since its heap may be too.
"""

import atexit
import contextlib
import fcntl
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, cast

from gateway.config import Settings
from gateway.dicom.decoding import codecs
from gateway.dicom.decoding.codecs import Words
from gateway.errors import Unavailable

MODULE = "gateway.dicom.decoding.decoder_process"
MAX_MESSAGE = 4096
"""Bytes of a message: names and numbers alone."""
START_SECONDS = 60.0
"""How long a process may take to start on a busy machine."""
PATIENCE = 10.0
"""How much more wall time than CPU time a frame may take on a busy machine, beside START_SECONDS."""
END_SECONDS = 5.0
"""How long a process may take to end when its channel has."""
KEPT_BYTES = 64 << 20
"""Shared memory that an idle process keeps for the next frame, since new pages cost more than the copy into them."""
MIN_BYTES = 1 << 20
ALIGNMENT = 64
PASSED = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "TMPDIR")
"""Variables that a process inherits; keys and passwords are not among them."""

OPENJPEG_THREADS = "OPJ_NUM_THREADS"
"""Lets OpenJPEG decode the code blocks of one image with so many threads."""
SEALS = ("F_SEAL_GROW", "F_SEAL_SHRINK", "F_SEAL_SEAL")
"""What the other side may not do to the shared memory (fcntl(2)): make it larger, or smaller than what we map."""


class DecoderFailed(Exception):
    """A codestream was not decoded; the text says what its decoder did."""


@dataclass(frozen=True)
class DecoderLimits:
    """What decoding may take: the settings ``decode_processes``, ``decode_memory`` and so on."""

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
class Job:
    """How one frame is decoded: the codec, the bytes that it gives, and what the header states of it."""

    codec: str
    size: int
    stated: Words = field(default_factory=dict)


Decoded = tuple[bytearray | bytes, Words]
"""Samples, and what the codec says of them."""


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class DecodingProcess:
    """One process, its channel, and the memory shared with it: the codestream, then the samples."""

    def __init__(self, limits: DecoderLimits) -> None:
        """Start it. Raises OSError, or DecoderFailed where it does not get as far as to wait for work."""
        self._limits = limits
        self._memory: mmap.mmap | None = None
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # Its own session, since a server's signals reach whole groups. No PR_SET_PDEATHSIG, which would fire when
            # the thread that started it ends, and that may be one of a request.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE, str(theirs.fileno()), str(limits.memory)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # codecs quote what they read
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=_environment(),
            )
        try:
            self._hear(START_SECONDS)
        except DecoderFailed:
            self.end()
            raise

    def lives(self) -> bool:
        """Whether it has not ended by itself, or by somebody else's hand."""
        return self._process.poll() is None

    def decode(self, job: Job, codestream: bytes) -> Decoded:
        """The samples of one frame. Raises DecoderFailed, after which the process is of no use."""
        start = -(-len(codestream) // ALIGNMENT) * ALIGNMENT
        seconds = self._limits.allowed(job.size)
        words = {"codec": job.codec, "length": len(codestream), "start": start, "size": job.size, "seconds": seconds}
        memory, files = self._room(start + job.size)
        memory[: len(codestream)] = codestream
        self._tell({**job.stated, **words}, files)
        said = self._hear(START_SECONDS + PATIENCE * seconds)
        if "fault" in said:
            raise DecoderFailed(_fault(said["fault"]))
        with memoryview(memory) as view:
            return bytearray(view[start : start + job.size]), said

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
        if self._memory is not None and size <= len(self._memory) <= max(size, KEPT_BYTES):
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
        except OSError:
            raise DecoderFailed(self._why()) from None
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
        """How it ended, in words."""
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its channel"
        if code >= 0:
            return f"exited with status {code}"
        if -code == signal.SIGPROF:
            return "took more CPU time than decode_seconds and decode_rate allow"
        return f"was ended by {signal.Signals(-code).name}"


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


def _fault(name: str) -> str:
    if name == "memory":
        return "needed more memory than decode_memory allows"
    return "gave another number of samples" if name == "size" else "found it broken"


class Pool:
    """Processes, as many as frames are decoded at once, up to a limit; or none, and codecs run here."""

    def __init__(self, limits: DecoderLimits) -> None:
        self.limits = limits
        if not limits.processes:
            os.environ.setdefault(OPENJPEG_THREADS, str(cores()))
        self._places = threading.Semaphore(limits.processes)
        self._lock = threading.Lock()
        self._idle: list[DecodingProcess] = []
        self._all: set[DecodingProcess] = set()
        self._closed = False

    def decode(self, job: Job, codestream: bytes) -> Decoded:
        """The samples of one frame, in one of the processes. Raises DecoderFailed, Unavailable."""
        if not self.limits.processes:
            return _decode_here(job, codestream)
        with self._places:
            process = self._take()
            try:
                decoded = process.decode(job, codestream)
            except BaseException:
                self._lose(process)
                raise
            self._give_back(process)
            return decoded

    def close(self) -> None:
        """Let the idle processes end, and those at work after their frame."""
        with self._lock:
            self._closed, idle, self._idle = True, self._idle, []
            self._all.difference_update(idle)
        for process in idle:
            process.leave()
        for process in idle:
            process.retire()

    def leave(self) -> None:
        """Close the channels of all: this is a copy of the process that they belong to."""
        for process in self._all:
            process.leave()

    def _take(self) -> DecodingProcess:
        """The one that was used last, and lives; else a new one."""
        while True:
            with self._lock:
                if not self._idle:
                    break
                process = self._idle.pop()
            if process.lives():
                return process
            self._lose(process)
        try:
            process = DecodingProcess(self.limits)
        except (OSError, DecoderFailed) as error:
            raise Unavailable("Compressed pixels cannot be decoded now.", private=f"decoder: {error}") from error
        with self._lock:
            self._all.add(process)
        return process

    def _give_back(self, process: DecodingProcess) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(process)
                return
        self._lose(process)

    def _lose(self, process: DecodingProcess) -> None:
        with self._lock:
            self._all.discard(process)
        process.end()


def _decode_here(job: Job, codestream: bytes) -> Decoded:
    try:
        samples, said = codecs.decode(codestream, {**job.stated, "codec": job.codec})
    except MemoryError:
        raise DecoderFailed("needed more memory than there is") from None
    except Exception as error:
        raise DecoderFailed(_fault(type(error).__name__)) from error
    if len(samples) != job.size:
        raise DecoderFailed(_fault("size"))
    return samples, said


class _Process:
    """What this process decodes with: the limits, and a pool for each that was in force."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.limits: DecoderLimits | None = None
        self.pools: dict[DecoderLimits, Pool] = {}


_here = _Process()
_inherited: list[_Process] = []


def configure(settings: Settings) -> None:
    """Decode within the limits of these settings from now on, in this process."""
    _here.limits = DecoderLimits.of(settings)


def pool() -> Pool:
    """The pool of this process; by the ``GATEWAY_*`` variables where ``configure`` was not called."""
    with _here.lock:
        if _here.limits is None:
            configure(Settings.from_environment())
        limits = cast(DecoderLimits, _here.limits)
        if limits not in _here.pools:
            _here.pools[limits] = Pool(limits)
        return _here.pools[limits]


def close() -> None:
    """End the processes; they are started again when they are needed."""
    with _here.lock:
        pools, _here.pools = _here.pools, {}
    for one in pools.values():
        one.close()


def _after_fork() -> None:
    """A forked child has a copy of every channel, on which it would hear what is said to its parent."""
    global _here
    for one in _here.pools.values():
        one.leave()
    _inherited.append(_here)  # lest their processes be waited for here
    limits, _here = _here.limits, _Process()
    _here.limits = limits


atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
