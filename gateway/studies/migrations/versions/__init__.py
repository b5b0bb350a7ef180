"""Migrations, one file a step, in their order."""
