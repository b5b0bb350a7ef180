"""Names that existing services import; the code is in ``gateway``."""

from utils import pydicom_compat as pydicom_compat
