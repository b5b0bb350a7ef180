"""A thread that looks after what has a limited life, and ends once nothing of it is left."""

import threading
from collections.abc import Callable, Sized


class SessionWatch:
    """Looks every ``seconds`` while there is something to look after."""

    def __init__(self, name: str, look: Callable[[], None], watched: Callable[[], Sized], seconds: float) -> None:
        """``look`` drops what is over; ``watched`` returns what is left, and the thread ends where that is empty."""
        self._name, self._look, self._watched, self._seconds = name, look, watched, seconds
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look, unless it does already. Call it after adding something."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(self._seconds):
            self._look()
            with self._lock:
                if not len(self._watched()):
                    self._thread = None
                    return
