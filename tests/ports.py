"""Free ports, for programs that need the number in advance."""

import contextlib
import random
import socket


def free_port() -> int:
    """Return a free port below those that the kernel assigns by itself (32768 to 60999 on Linux)."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
