"""``python -m gateway``: each verb calls one function.

Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no connection, 130 interrupted.
"""

from gateway.cli.main import main

__all__ = ["main"]
