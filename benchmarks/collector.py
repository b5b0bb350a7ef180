"""A trace collector that accepts and discards all traces, in a process of its own."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks import servers


def serving() -> servers.Serving:
    """A collector that speaks OTLP over HTTP."""
    return servers.run([sys.executable, "-m", "benchmarks.collector"])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # a connection is kept, as collectors do

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until killed."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        sys.stdout.write(f"Listening at: 127.0.0.1:{server.server_address[1]}\n")
        server.serve_forever()


if __name__ == "__main__":
    main()
