"""Checks of a machine before it serves: ``python -m gateway doctor``.

Each check is one small function that looks at one thing, changes nothing that stays, and returns one ``Finding``.
A check imports what it needs when it runs: a package that is missing is something to find, not to stumble over.
"""

from gateway.doctor.diagnoses import Diagnosis, Level, stopping, verdict
from gateway.doctor.examination import examine, examine_application
from gateway.doctor.plan import Plan

__all__ = ["Diagnosis", "Level", "Plan", "examine", "examine_application", "stopping", "verdict"]
