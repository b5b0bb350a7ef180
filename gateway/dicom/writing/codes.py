"""Coded concepts by scheme and name, such as ``codes.SCT.Lung``: DICOM's own, SNOMED CT and more (PS3.16)."""

from pydicom.sr.codedict import codes

__all__ = ["codes"]
