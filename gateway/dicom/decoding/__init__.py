"""From stored bytes to numbers: pixels decoded, rescaled and shown through a window."""
