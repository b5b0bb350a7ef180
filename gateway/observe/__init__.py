"""Logs, metrics, traces and audit, without patient data."""
