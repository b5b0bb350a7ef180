"""What leaves for other systems, durably: results to peers, and the ends of runs to the URLs that callers named."""
