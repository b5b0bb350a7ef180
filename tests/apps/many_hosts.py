"""The service of ``durable``, and models for the tests of several hosts, one of which may have a wrong clock."""

import os
import time

from gateway import BoundingBox, Classification, Volume
from gateway.delivery.send_attempt import SendAttempt
from tests.apps.clicking import paint
from tests.apps.durable import die_once, make, note


def measured(ct: Volume) -> Classification:
    """Answer the same for the same images."""
    return Classification({"slices": str(len(ct.array))})


def boxed(ct: Volume) -> BoundingBox:
    """Note the number of slices; return one box."""
    note(f"boxed {len(ct.array)}")
    return BoundingBox("lung", (1, 1), (3, 3), slice=0, of=ct)


def set_clock(seconds):
    """Set the clock of this process alone."""
    true = time.time
    time.time = lambda: true() + seconds


set_clock(float(os.environ.get("TEST_CLOCK", "0")))
die_once(SendAttempt, "_record", whole_host=True)
app = make()
app.model("/measured", version="1.0", deterministic=True)(measured)
app.model("/boxed")(boxed)
app.model("/paint")(paint)
