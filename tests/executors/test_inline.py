"""A model inside the worker, whose health may be read at any moment, by a signal's handler too."""

import subprocess
import sys

from tests.conftest import ROOT

ASKING = """
import signal
from gateway.config import Settings
from gateway.executors.inline import ModelRunner
from tests.apps.faults import app

runner = ModelRunner(next(iter(app.service.models.values())), Settings(), set())
heard = []
signal.signal(signal.SIGALRM, lambda *_: heard.append(runner.health()))
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
while len(heard) < 200:
    runner.health()
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_a_signal_handler_may_read_health_while_health_is_read() -> None:
    assert subprocess.run([sys.executable, "-c", ASKING], cwd=ROOT, timeout=60).returncode == 0
