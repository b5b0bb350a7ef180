"""Ports for programs that have to be told one."""

import contextlib
import random
import socket


def free_port() -> int:
    """A free port below those that the kernel gives to whoever asks for any (32768 to 60999 on Linux), as tests do."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
