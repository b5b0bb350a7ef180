"""Options of the connection to a gateway, and the client that they configure."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.config import DEFAULT_PORT

if TYPE_CHECKING:
    from gateway.client import Client

TOKEN, API_KEY = "GATEWAY_TOKEN", "GATEWAY_API_KEY"
"""Variables of secrets; on a command line every user of the machine could read them."""


def add_address(verb: argparse.ArgumentParser) -> None:
    """Add the options for the gateway's address and timeout."""
    add = verb.add_argument_group("the gateway").add_argument
    add("--host", default="127.0.0.1", help="name or address of the gateway, or a whole URL (%(default)s)")
    add("-p", "--port", type=port_number, default=DEFAULT_PORT, help="its port (%(default)s)")
    add("--timeout", type=count, metavar="S", help="seconds to wait for a silent server (1800)")


def add_skip_unreadable(verb: argparse.ArgumentParser) -> None:
    """Add the option to leave out unreadable files."""
    summary = "leave out and list unreadable files that look like a part of the study"
    verb.add_argument("--skip-unreadable", action="store_true", help=summary)


def add_devices(verb: argparse.ArgumentParser) -> None:
    """Add the option of the devices that models may use."""
    summary = "devices of model processes: cuda:0,cuda:1, auto or none (GATEWAY_DEVICES)"
    verb.add_argument("--devices", metavar="LIST", help=summary)


def add_access(verb: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Add the options for credentials and TLS."""
    add = verb.add_argument_group("access").add_argument
    add("--token-file", type=Path, metavar="FILE", help=f"file of a bearer token (${TOKEN})")
    add("--ca", type=Path, metavar="FILE", help="certificates to trust instead of the system's")
    add("--insecure", action="store_true", help="do not verify the server's certificate: for tests only")
    add("--cert", type=Path, metavar="FILE", help="client certificate")
    add("--cert-key", type=Path, metavar="FILE", help="private key of the certificate, if in a separate file")
    verb.set_defaults(token=environ.get(TOKEN, ""), api_key=environ.get(API_KEY, ""))


def access(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the credentials of a parsed command line as a Client's arguments.

    Raises SourceUnreadable for a file without a token, OSError for one that cannot be read.
    """
    import urllib3

    from gateway.client import SourceUnreadable

    token = arguments.token
    if arguments.token_file and not (token := arguments.token_file.read_text("utf-8", "replace").strip()):
        raise SourceUnreadable(f"{arguments.token_file} contains no token.")
    if arguments.insecure:  # the user asked for it, so no warning with each request
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    pair = (arguments.cert, arguments.cert_key)
    return {
        "token": token,
        "api_key": arguments.api_key,
        "verify": False if arguments.insecure else arguments.ca or True,
        "cert": pair if all(pair) else arguments.cert,
    }


def url_of(host: str, at: int) -> str:
    """Return the URL of the gateway; a ``host`` that is a URL is unchanged, and one with a port keeps it."""
    if "://" in host:
        return host
    if host.count(":") == 1 or "]:" in host:
        return f"http://{host}"
    return f"http://[{host}]:{at}" if ":" in host and not host.startswith("[") else f"http://{host}:{at}"


def client(arguments: argparse.Namespace) -> "Client":
    """Return the client of a command line."""
    from gateway.client import Client

    digest = getattr(arguments, "digest", "sha256")
    url = url_of(arguments.host, arguments.port)
    return Client(url, timeout=arguments.timeout, digest=digest, **access(arguments))


def port_number(text: str) -> int:
    """Parse a port, 0 for any free one."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


def count(text: str) -> int:
    """Parse a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def seconds(text: str) -> float:
    """Parse a number of seconds from 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def count_or_zero(text: str) -> int:
    """Parse a whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)
