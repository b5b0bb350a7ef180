"""The words of nnInteractive's remote sessions: packed arrays, prompts and capabilities (docs/nninteractive.md)."""
