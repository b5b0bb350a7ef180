"""Protocol version 1.0: parts to requests, and findings to answers and back. Knows no HTTP and no framing."""
