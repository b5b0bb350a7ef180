"""Costs of the gateway, as ratios to a plain gateway measured in the same run: ``python -m benchmarks``."""
