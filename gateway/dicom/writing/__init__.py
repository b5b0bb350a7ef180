"""Findings as DICOM objects of the study that they were made from, checked as they leave and read when they return."""
