"""Findings as DICOM objects of the study that they were made from, checked before they are sent."""
