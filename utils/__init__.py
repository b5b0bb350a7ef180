"""The shelf that existing services import from; what stands on it lives in ``gateway``."""

from utils import pydicom_compat as pydicom_compat
