"""Inference over an archive: every study below a folder, each to a folder of results, with tables of all."""
