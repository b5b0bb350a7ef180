"""Who calls, and what they may do: keys, tokens, certificates, and bounds on each caller. Knows no HTTP framework."""
