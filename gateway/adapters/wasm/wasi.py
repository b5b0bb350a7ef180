"""The host functions of WASI preview 1 as a WASM function gets them: standard input and output in memory, and an exit.

wasmtime's own WASI reads files only, copies pieces of 4 KiB, and has the clock, random numbers and sleep always. Here a
function has what is granted, output stops at a limit, and no call of the host waits for anything.
A program that asks for more gets the error code of a system that lacks it: there are no folders, variables or sockets.
"""

import ctypes
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

PREVIEW_1 = "wasi_snapshot_preview1"
SUCCESS, BAD_DESCRIPTOR, FAULT, INVALID, NO_SEEK, NOT_CAPABLE = 0, 8, 21, 28, 70, 76
"""Error codes (``errno`` of WASI preview 1)."""
STDIN, STDOUT, STDERR = 0, 1, 2
MAX_VECTORS = 1_024
"""Buffers of one read or write, as IOV_MAX of Linux; each costs the host time, whatever its length."""
PIECE = 1 << 20
"""Random bytes made at once."""
STDERR_BYTES = 4_096
"""The end of standard error that is stored: a problem shows less of it."""
CHARACTER_DEVICE = 2
MASK = 0xFFFFFFFF
"""Integers of WebAssembly have no sign of their own; wasmtime gives them as signed ones."""


class Ended(Exception):
    """Ends a call from within a host function; ``Streams`` has the reason."""


class Grants(NamedTuple):
    """What a function may use beside its input: the time, random numbers. Without either its answer repeats."""

    clock: bool = False
    random: bool = False


class Streams:
    """The standard streams of one call. ``output`` has ``most`` bytes at most; ``errors`` the end of standard error."""

    def __init__(self, data: memoryview, most: int) -> None:
        self.output = bytearray()
        self.errors = bytearray()
        self.exit_status: int | None = None
        """That of ``proc_exit``; None where the program has just returned."""
        self.overflowed = False
        """True once the program has written more than ``most``."""
        self.broken: BaseException | None = None
        """What a host function raised that is no fault of the program, such as MemoryError."""
        self._input, self._most, self._position = data, most, 0

    def read(self, into: memoryview) -> int:
        """Fill a buffer from standard input; return the number of bytes, 0 at its end."""
        piece = self._input[self._position : self._position + len(into)]
        into[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def write(self, descriptor: int, data: memoryview) -> None:
        """Append to standard output or error. Raises Ended where the output grows too long."""
        if descriptor == STDERR:
            self.errors += data[-STDERR_BYTES:]
            del self.errors[:-STDERR_BYTES]
        elif len(self.output) + len(data) > self._most:
            self.overflowed = True
            raise Ended
        else:
            self.output += data

    def exit(self, status: int) -> None:
        """End the program. Raises Ended."""
        self.exit_status = status & MASK
        raise Ended


class ProgramMemory:
    """The memory of a program in one call of it, little endian; every access is checked."""

    def __init__(self) -> None:
        self._memory: Any = None
        self._view = memoryview(b"")

    def look(self, caller: Any) -> Self:
        """Return the memory as a host function finds it: it moves only where it has grown."""
        if self._memory is None:
            self._memory = caller.get("memory")
        size = self._memory.data_len(caller)
        if size != len(self._view):
            address = ctypes.addressof(self._memory.data_ptr(caller).contents)
            self._view = memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")
        return self

    def at(self, pointer: int, length: int) -> memoryview:
        """Return bytes of the program. Raises IndexError beyond its memory."""
        start = pointer & MASK
        end = start + (length & MASK)
        if end > len(self._view):
            raise IndexError
        return self._view[start:end]

    def put(self, pointer: int, value: int, size: int = 4) -> None:
        """Write a number. Raises IndexError."""
        self.at(pointer, size)[:] = value.to_bytes(size, "little")

    def vectors(self, pointer: int, count: int) -> Iterator[memoryview]:
        """Yield the buffers of a read or a write, ``(pointer, length)`` each. Raises IndexError."""
        table = self.at(pointer, count * 8).cast("I")
        for index in range(count):
            yield self.at(table[2 * index], table[2 * index + 1])


Host = Callable[..., int | None]
"""A host function: the streams of the call, the memory of the program, and its arguments; it returns an error code."""


def _fd_read(streams: Streams, memory: ProgramMemory, descriptor: int, vectors: int, count: int, read: int) -> int:
    if descriptor != STDIN:
        return BAD_DESCRIPTOR
    if count & MASK > MAX_VECTORS:
        return INVALID
    memory.put(read, sum(map(streams.read, memory.vectors(vectors, count))))
    return SUCCESS


def _fd_write(streams: Streams, memory: ProgramMemory, descriptor: int, vectors: int, count: int, written: int) -> int:
    if descriptor not in (STDOUT, STDERR):
        return BAD_DESCRIPTOR
    if count & MASK > MAX_VECTORS:
        return INVALID
    total = 0
    for piece in memory.vectors(vectors, count):
        streams.write(descriptor, piece)
        total += len(piece)
    memory.put(written, total & MASK)
    return SUCCESS


def _fd_fdstat_get(_: Streams, memory: ProgramMemory, descriptor: int, stat: int) -> int:
    """A stream is like a terminal: it has a type, and neither flags nor a position (``fdstat``, 24 bytes)."""
    if descriptor not in (STDIN, STDOUT, STDERR):
        return BAD_DESCRIPTOR
    memory.at(stat, 24)[:] = bytes([CHARACTER_DEVICE]) + bytes(7) + b"\xff" * 16  # all rights; none leads anywhere
    return SUCCESS


def _no_descriptor(*_: object) -> int:
    return BAD_DESCRIPTOR


def _on_stream(code: int) -> Host:
    def answer(_: Streams, __: ProgramMemory, descriptor: int, *___: int) -> int:
        return code if descriptor in (STDIN, STDOUT, STDERR) else BAD_DESCRIPTOR

    return answer


def _no_strings(_: Streams, memory: ProgramMemory, count: int, size: int) -> int:
    """No arguments and no environment."""
    memory.put(count, 0)
    memory.put(size, 0)
    return SUCCESS


def _nothing(*_: object) -> int:
    return SUCCESS


def _proc_exit(streams: Streams, _: ProgramMemory, status: int) -> None:
    streams.exit(status)


CLOCKS: tuple[Callable[[], int], ...] = (time.time_ns, time.monotonic_ns)
"""By WASI's number; those of the process's own processor time are not granted."""


def _clock_time_get(_: Streams, memory: ProgramMemory, clock: int, __: int, now: int) -> int:
    if clock not in range(len(CLOCKS)):
        return INVALID
    memory.put(now, CLOCKS[clock](), 8)
    return SUCCESS


def _clock_res_get(_: Streams, memory: ProgramMemory, clock: int, resolution: int) -> int:
    if clock not in range(len(CLOCKS)):
        return INVALID
    memory.put(resolution, 1_000, 8)
    return SUCCESS


def _random_get(_: Streams, memory: ProgramMemory, pointer: int, length: int) -> int:
    target = memory.at(pointer, length)
    for start in range(0, len(target), PIECE):
        piece = target[start : start + PIECE]
        piece[:] = os.urandom(len(piece))
    return SUCCESS


class HostFunction(NamedTuple):
    """A host function: the types of its arguments, i for i32 and I for i64, and the grant that it needs, if any."""

    arguments: str
    call: Host
    grant: str = ""
    returns: str = "i"


HOST_FUNCTIONS: Mapping[str, HostFunction] = {
    "args_get": HostFunction("ii", _nothing),
    "args_sizes_get": HostFunction("ii", _no_strings),
    "clock_res_get": HostFunction("ii", _clock_res_get, "clock"),
    "clock_time_get": HostFunction("iIi", _clock_time_get, "clock"),
    "environ_get": HostFunction("ii", _nothing),
    "environ_sizes_get": HostFunction("ii", _no_strings),
    "fd_close": HostFunction("i", _on_stream(SUCCESS)),
    "fd_fdstat_get": HostFunction("ii", _fd_fdstat_get),
    "fd_fdstat_set_flags": HostFunction("ii", _on_stream(SUCCESS)),
    "fd_prestat_dir_name": HostFunction("iii", _no_descriptor),
    "fd_prestat_get": HostFunction("ii", _no_descriptor),
    "fd_read": HostFunction("iiii", _fd_read),
    "fd_seek": HostFunction("iIii", _on_stream(NO_SEEK)),
    "fd_tell": HostFunction("ii", _on_stream(NO_SEEK)),
    "fd_write": HostFunction("iiii", _fd_write),
    "proc_exit": HostFunction("i", _proc_exit, returns=""),
    "random_get": HostFunction("ii", _random_get, "random"),
    "sched_yield": HostFunction("", _nothing),
}
"""What a function has of WASI."""
ABSENT = {
    "fd_advise", "fd_allocate", "fd_datasync", "fd_fdstat_set_rights", "fd_filestat_get",
    "fd_filestat_set_size", "fd_filestat_set_times", "fd_pread", "fd_pwrite", "fd_readdir", "fd_renumber",
    "fd_sync",
    "path_create_directory", "path_filestat_get", "path_filestat_set_times", "path_link", "path_open",
    "path_readlink", "path_remove_directory", "path_rename", "path_symlink", "path_unlink_file",
    "poll_oneoff",
    "proc_raise",
    "sock_accept", "sock_recv", "sock_send", "sock_shutdown",
}  # fmt: skip
"""The rest of it, which the libraries of some languages import: each call answers NOT_CAPABLE."""


def host_call(function: HostFunction | None, streams: Streams, memory: ProgramMemory) -> Callable[..., int | None]:
    """Return a host function for one call, as wasmtime calls it; None for one that is absent."""

    def call(caller: Any, *arguments: int) -> int | None:
        if function is None:
            return NOT_CAPABLE
        try:
            return function.call(streams, memory.look(caller), *arguments)
        except IndexError:
            return FAULT
        except Ended:
            raise
        except BaseException as error:  # wasmtime may raise it in the call of another thread
            streams.broken = error
            raise Ended from None

    return call
