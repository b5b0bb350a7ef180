"""A decoding process: ``python -m gateway.dicom.decoding.decoder_process DESCRIPTOR MEMORY``, started by ``pool``.

It decodes one codestream after another by C and C++ that may crash, and is lost without harm. Its address space is
bounded to MEMORY bytes, each frame to some seconds of CPU, its output to the memory that it is given. It ends when its
channel does: when the process that started it ends, or gives it up.
"""

import contextlib
import json
import mmap
import os
import resource
import signal
import socket
import sys
from pathlib import Path

from gateway.dicom.decoding.codecs import Words, decode, load
from gateway.spool.process_memory import leave_no_dump

MAX_MESSAGE = 4096
"""Bytes of a message: names and numbers alone."""


def serve(channel: socket.socket) -> None:
    """Decode until the channel ends."""
    shared: mmap.mmap | None = None
    while True:
        message, files, _, _ = socket.recv_fds(channel, MAX_MESSAGE, 1)
        if not message:
            return
        for file in files:
            shared = _attached(file, shared)
        answer = {"fault": "memory"} if shared is None else _answer(json.loads(message), shared)
        channel.send(json.dumps(answer).encode())


def _attached(file: int, before: mmap.mmap | None) -> mmap.mmap | None:
    """Map the memory to decode in, in the place of the last; None where that is more than this process may have."""
    if before is not None:
        before.close()
    try:
        return mmap.mmap(file, 0)
    except OSError:
        return None
    finally:
        os.close(file)


def _answer(words: Words, shared: mmap.mmap) -> Words:
    """Decode what lies at the start of the shared memory to ``start``. SIGPROF ends a frame that takes too long."""
    try:
        load(words["codec"])
        signal.setitimer(signal.ITIMER_PROF, words["seconds"])
        samples, said = decode(shared[: words["length"]], words)
        if len(samples) != words["size"]:
            return {"fault": "size"}
        shared[words["start"] : words["start"] + words["size"]] = samples
        return said
    except MemoryError:
        return {"fault": "memory"}
    except Exception as error:
        return {"fault": type(error).__name__}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _bound(memory: int) -> None:
    """Take the limits of an expendable process, of which the kernel ends this one first when memory runs out."""
    leave_no_dump()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it has no file to write
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # a server's own signals reach whole groups
        signal.signal(number, signal.SIG_IGN)


def main(descriptor: str, memory: str) -> None:
    """Take the limits, say so, and serve."""
    _bound(int(memory))
    with socket.socket(fileno=int(descriptor)) as channel, contextlib.suppress(ConnectionError):
        channel.send(b"{}")
        serve(channel)


if __name__ == "__main__":
    main(*sys.argv[1:])
