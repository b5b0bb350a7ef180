"""MONAI Label's REST API in words: what its clients ask, and what they read (docs/monailabel.md)."""
