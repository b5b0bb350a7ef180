"""Parts <-> words: protocol_version 1.0. Knows JSON and arrays; knows no HTTP and no multipart framing."""
