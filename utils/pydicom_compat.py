"""``pydicom.read_file``, which pydicom 3.0 removed and every service of the predecessor calls.

Importing this module restores it as another name of ``pydicom.dcmread``; ``import utils`` does so, since each of those
services imports ``utils``. New code calls ``pydicom.dcmread``.
"""

import pydicom


def restore_read_file() -> None:
    """Restore ``pydicom.read_file``; a pydicom that still has one keeps its own."""
    if not hasattr(pydicom, "read_file"):
        vars(pydicom)["read_file"] = pydicom.dcmread


restore_read_file()
