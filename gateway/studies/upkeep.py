"""What a store does by itself now and then, so that age counts where nobody sends anything too."""

import logging
import threading
from collections.abc import Callable

from gateway.errors import GatewayError

logger = logging.getLogger("gateway")

SECONDS = 3600.0
"""Between two turns: what is too old is out of sight at once, and off the disk an hour later at most."""


class Upkeep:
    """A thread that works every so many seconds until it is stopped."""

    def __init__(self, work: Callable[[], None], seconds: float = SECONDS) -> None:
        self._work, self._seconds = work, seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-upkeep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, once what it does now is done."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._work()
            except GatewayError as error:  # the next turn comes
                logger.warning("the study store was not looked after: %s %s", error.code, error.private)
