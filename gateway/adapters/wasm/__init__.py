"""WebAssembly functions as models: bytes in, bytes out, in a sandbox of their own for each request."""
