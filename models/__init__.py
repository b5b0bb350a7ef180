"""Models ready to serve and to copy, one file each."""
