"""From any source of bytes to a received request: read once, bounded, hashed beside. No Flask in it."""
