"""Decoding processes: started when the first compressed frame is met, kept warm, and replaced when one is lost.

A process whose codestream was broken is not used again, since its heap may be too.
"""

import atexit
import os
import threading
from typing import cast

from gateway.config import Settings
from gateway.dicom.decoding import codecs
from gateway.dicom.decoding.handles import (
    OPENJPEG_THREADS,
    Decoded,
    DecoderFailed,
    DecoderLimits,
    DecodingProcess,
    FrameJob,
    cores,
    fault,
)
from gateway.errors import Unavailable


class DecodingPool:
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

    def decode(self, job: FrameJob, codestream: bytes) -> Decoded:
        """The samples of one frame, in one of the processes. Raises DecoderFailed, Unavailable."""
        if not self.limits.processes:
            return _decode_here(job, codestream)
        with self._places:
            process = self._take()
            try:
                decoded = process.decode(job, codestream)
            except OSError as error:  # out of memory or of descriptors here, or it was ended before it was asked
                self._lose(process)
                raise _unavailable(error) from error
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
            if process.reusable():
                return process
            self._lose(process)
        try:
            process = DecodingProcess(self.limits)
        except (OSError, DecoderFailed) as error:
            raise _unavailable(error) from error
        with self._lock:
            self._all.add(process)
        return process

    def _give_back(self, process: DecodingProcess) -> None:
        with self._lock:
            if not self._closed and process.reusable():
                self._idle.append(process)
                return
        self._lose(process)

    def _lose(self, process: DecodingProcess) -> None:
        with self._lock:
            self._all.discard(process)
        process.end()


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable("Compressed pixels cannot be decoded now.", private=f"decoding process: {error}")


def _decode_here(job: FrameJob, codestream: bytes) -> Decoded:
    try:
        samples, said = codecs.decode(codestream, {**job.stated, "codec": job.codec})
    except MemoryError:
        raise DecoderFailed("needed more memory than there is") from None
    except Exception as error:
        raise DecoderFailed(fault(type(error).__name__)) from error
    if len(samples) != job.size:
        raise DecoderFailed(fault("size"))
    return samples, said


class _Process:
    """The decoders of this process: the limits, and a pool for each set of limits that was in force."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.limits: DecoderLimits | None = None
        self.pools: dict[DecoderLimits, DecodingPool] = {}


_here = _Process()
_inherited: list[_Process] = []


def configure(settings: Settings) -> None:
    """Decode within the limits of these settings from now on, in this process."""
    _here.limits = DecoderLimits.of(settings)


def pool() -> DecodingPool:
    """The pool of this process; by the ``GATEWAY_*`` variables where ``configure`` was not called."""
    with _here.lock:
        if _here.limits is None:
            configure(Settings.from_environment())
        limits = cast(DecoderLimits, _here.limits)
        if limits not in _here.pools:
            _here.pools[limits] = DecodingPool(limits)
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
