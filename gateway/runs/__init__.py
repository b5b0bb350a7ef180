"""Runs: inferences with an id and a state, which outlive the connection and the process. No HTTP here."""
