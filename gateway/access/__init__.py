"""Callers and what they may do: keys, tokens, certificates, and limits on each caller. No HTTP framework here."""
