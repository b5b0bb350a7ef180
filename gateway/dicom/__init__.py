"""Pixels and geometry: what a study holds, where it lies in the patient, how it looks, and what is written of it.

Its rooms, from the ground up: ``reading``, ``decoding``, ``volumes``; on these ``drawing``, ``samples``, ``writing``.
"""
