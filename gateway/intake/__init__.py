"""From any source of bytes to a received request: admission, bodies, chunks, study paths. No Flask here."""
