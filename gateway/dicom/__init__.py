"""Pixels and geometry: what a study holds, where it lies in the patient, how it looks."""
