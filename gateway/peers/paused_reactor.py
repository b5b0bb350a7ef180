"""A pause of pynetdicom's reactor that lasts, so that it takes no response from the thread that waits for it."""

import threading

from pynetdicom import evt
from pynetdicom.association import Association


class Checkpoint(threading.Event):
    """The event at which the reactor of an association waits while a message is sent and answered.

    A sender clears it, waits until ``_is_paused`` is true, and sends.
    pynetdicom 3.0.4 sets ``_is_paused`` to false after the wait.
    A reactor that is interrupted between the two counts as paused, but takes the response from the sender, which then
    waits for its timeout.
    Here no sender can clear the event between the two.
    """

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._association, self._passing = association, threading.Lock()
        self.set()

    def clear(self) -> None:
        """Stop the reactor at its next wait."""
        with self._passing:
            super().clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the reactor may go on, and mark it as running."""
        while super().wait(timeout):
            with self._passing:
                if self.is_set():
                    self._association._is_paused = False
                    return True
        return False


def pause_for_certain(event: evt.Event) -> None:
    """Give a new association its checkpoint; a handler of ``EVT_CONN_OPEN``, before which no reactor runs."""
    event.assoc._reactor_checkpoint = Checkpoint(event.assoc)
