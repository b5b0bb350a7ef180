"""``dimse``: the DICOM network as a server, a process beside the HTTP server on the same store."""

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path

from gateway.access.listeners import announce, is_loopback
from gateway.cli.connection_options import port_number
from gateway.config import Settings

PROGRAM = "python -m gateway"
PORT, TITLE = 11_112, "GATEWAY"
EPILOG = f"""\
examples:
  {PROGRAM} dimse                                       on this machine alone
  {PROGRAM} dimse --host 0.0.0.0 --certfile gateway.pem --ca-certs hospital.pem
  {PROGRAM} dimse --host 0.0.0.0 --allow-plain          without TLS, for the addresses of the file of AE titles

It reads the environment as serve does: the store of GATEWAY_STORE_FOLDER, and the AE titles of
GATEWAY_DIMSE_TITLES_FILE. SIGTERM lets associations end. exit status: 0 stopped, 1 failed, 2 wrong usage
"""

logger = logging.getLogger("gateway")


def add_arguments(verb: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Add the arguments of ``dimse``."""
    add = verb.add_argument
    add("app", nargs="?", metavar="APP", help="module:name of a Gateway whose settings hold; the environment's without")
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("-p", "--port", type=port_number, default=PORT, help="port to listen on, 0 for any free one (%(default)s)")
    add("--aet", default=TITLE, metavar="TITLE", help="AE title of the gateway (%(default)s)")
    add("--allow-plain", action="store_true", help="listen beyond this machine without TLS; AE titles can be forged")
    add("--metrics-port", type=port_number, metavar="PORT", help="answer GET /metrics on a port of its own")
    add("--metrics-host", default="127.0.0.1", help="address of that port, which asks for no key (%(default)s)")
    tls = verb.add_argument_group("TLS").add_argument
    tls("--certfile", type=Path, metavar="PEM", help="certificate chain of the gateway")
    tls("--keyfile", type=Path, metavar="PEM", help="its private key")
    tls("--ca-certs", type=Path, metavar="PEM", help="CA certificates: each peer must have a certificate of theirs")


def run(arguments: argparse.Namespace) -> None:
    """Serve until a signal. Raises ValueError with a sentence, OSError, ImportError, GatewayError."""
    settings = _settings(arguments)
    if settings.store_folder is None:
        raise ValueError("dimse needs a study store: set store_folder (GATEWAY_STORE_FOLDER).")
    if settings.dimse_titles_file is None:
        raise ValueError(
            "dimse needs the AE titles that may associate: set dimse_titles_file (GATEWAY_DIMSE_TITLES_FILE)."
        )
    from gateway.dimse.destinations import Destinations
    from gateway.dimse.known_titles import KnownTitles, require_title
    from gateway.dimse.listening import Certificates, listen, serve
    from gateway.dimse.provider import Provider
    from gateway.observe import jsonlogs
    from gateway.observe.audit.auditor import open_auditor
    from gateway.observe.logs import quiet_libraries
    from gateway.studies.query import filling
    from gateway.studies.store import Store

    require_title(arguments.aet)
    titles = KnownTitles(settings.dimse_titles_file)
    titles.check(plain=_require_tls(arguments))
    destinations = Destinations(settings.peers)
    certificates = None
    if arguments.certfile is not None:
        certificates = Certificates(arguments.certfile, arguments.keyfile, arguments.ca_certs)
        certificates.context()
    jsonlogs.configure(settings)
    quiet_libraries(settings.log_exception_text)
    listener = listen(arguments.host, arguments.port)
    announce([(arguments.host, arguments.port)])
    store = Store.open(settings, authenticated=True)
    if settings.dicomweb:
        filling.begin(store)
    provider = Provider(store, arguments.aet, titles, destinations, open_auditor(settings))
    try:
        if arguments.metrics_port is not None:
            provider.metrics.serve(arguments.metrics_host, arguments.metrics_port)
        serve(provider, listener, certificates)
    finally:
        provider.close()
        if provider.auditor is not None:
            provider.auditor.close()
        store.close()


def _settings(arguments: argparse.Namespace) -> Settings:
    if arguments.app is None:
        return Settings.from_environment()
    from gateway.targets import application

    return application(arguments.app).settings


def _require_tls(arguments: argparse.Namespace) -> bool:
    """Return True for a server that other machines reach without TLS. Raises ValueError where that was not allowed."""
    if is_loopback(arguments.host) or arguments.certfile is not None:
        return False
    if not arguments.allow_plain:
        raise ValueError(
            "Other machines would reach this address without TLS, where an AE title is no proof of who sends it:"
            " give --certfile and --ca-certs, or --allow-plain on a network that is closed otherwise."
        )
    return True
